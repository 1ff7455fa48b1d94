# The runtime's own Python, as far as src/entry.py asks for it: workers-runtime-sdk has no types.
from typing import Any

from starlette.types import ASGIApp

async def fetch(app: ASGIApp, req: Any, env: Any, ctx: Any = None) -> Any: ...
