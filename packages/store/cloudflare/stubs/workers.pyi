# The runtime's own Python, as far as src/entry.py asks for it: workers-runtime-sdk has no types.
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

class _Context(Protocol):
    def waitUntil(self, promised: Awaitable[Any], /) -> None: ...  # noqa: N802

class WorkerEntrypoint:
    ctx: _Context
    # What wrangler.jsonc binds, by its names.
    env: Any

class Response:
    @staticmethod
    def json(
        data: Any, status: int = 200, status_text: str = "", headers: Mapping[str, str] = ...
    ) -> Response: ...
