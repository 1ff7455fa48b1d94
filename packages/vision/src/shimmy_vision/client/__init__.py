"""A client of Shimmy Vision's HTTP API for your own programs; the server is ``shimmy serve``.

    with Client() as client:
        result = client.analyze("shot.png", mode="ocr")
        print([block["text"] for block in result["text_blocks"]])

``AsyncClient`` has the same methods for asyncio. Nothing of the engine is imported here.
"""

from shimmy_vision.client.answers import BatchEntry, Document, Job, Usage, Validation
from shimmy_vision.client.async_client import AsyncClient
from shimmy_vision.client.callbacks import CallbackRefused, check_callback
from shimmy_vision.client.calls import BatchItem, ImageSource, Options
from shimmy_vision.client.events import Done, Event, Page, Progress, Restarted, Written
from shimmy_vision.client.failures import ApiError, ServerUnreachable
from shimmy_vision.client.results import Result
from shimmy_vision.client.sync_client import Client

__all__ = [
    "ApiError",
    "AsyncClient",
    "BatchEntry",
    "BatchItem",
    "CallbackRefused",
    "Client",
    "Document",
    "Done",
    "Event",
    "ImageSource",
    "Job",
    "Options",
    "Page",
    "Progress",
    "Restarted",
    "Result",
    "ServerUnreachable",
    "Usage",
    "Validation",
    "Written",
    "check_callback",
]
