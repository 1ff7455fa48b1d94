"""Log lines as JSON. No key, address, email or URL is handed to a logger, and none would pass."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO, TypeAlias

import structlog

from shimmy_store.domain.private_words import show_id
from shimmy_store.wiring.logs import log_context, log_with, logger_of

__all__ = ["JsonFormatter", "log_context", "log_with", "logger_of", "start_logging"]

# These write addresses of requests, and with them ids and keys, into their logs.
_TALKATIVE = (
    "httpx",
    "httpcore",
    "stripe",
    "uvicorn.access",
    "uvicorn.asgi",
    "aiosmtplib",
    "python_multipart",
)
# What does not reach a collector of traces is told by us, without its address and its answer.
_SILENT = ("opentelemetry", "urllib3", "requests")
# They are of our own making, not of anything that was sent.
_OURS = frozenset({"time", "level", "logger", "at"})

_Told: TypeAlias = MutableMapping[str, Any]


class JsonFormatter(structlog.stdlib.ProcessorFormatter):
    """One object a line: time, level, name, event, and the event's fields; of every logger."""

    def __init__(self) -> None:
        super().__init__(
            processors=[
                structlog.contextvars.merge_contextvars,
                _arrange,
                _tell_error,
                _hide_private,
                structlog.processors.JSONRenderer(serializer=json.dumps),
            ]
        )


def _arrange(_logger: Any, _method: str, told: _Told) -> _Told:
    record: logging.LogRecord = told.pop("_record")
    del told["_from_structlog"]
    event, exc_info = told.pop("event"), told.pop("exc_info", None)
    told.pop("stack_info", None)
    return {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": event,
        **told,
        **getattr(record, "fields", {}),
        **({"exc_info": exc_info} if exc_info else {}),
    }


def _tell_error(_logger: Any, _method: str, told: _Told) -> _Told:
    """The kind and the place, not the message: it may hold what must not be here."""
    exc_info = told.pop("exc_info", None)
    if exc_info is None:
        return told
    kind, _, trace = exc_info
    told["error"] = "" if kind is None else kind.__name__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is not None:
        told["at"] = f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}"
    return told


def _hide_private(_logger: Any, _method: str, told: _Told) -> _Told:
    """The last word on what stands in a line, whoever wrote it."""
    return {name: value if name in _OURS else _shown(name, value) for name, value in told.items()}


def _shown(name: str, value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return show_id(name, value)
    # Of what has an inside only the kind can be told without a look into it.
    return type(value).__name__


def start_logging(stream: TextIO | None = None) -> None:
    """Everything to stderr as JSON, and silence from libraries that write addresses."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
