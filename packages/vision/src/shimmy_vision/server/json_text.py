"""JSON as it goes out: always JSON, whatever a result holds."""

from __future__ import annotations

import json
import logging
import math
from typing import Any

from starlette.responses import JSONResponse

_LOG = logging.getLogger("shimmy_vision.server")


def write_json(value: Any, *, compact: bool = False) -> str:
    """``value`` in ASCII, or short and with all letters where ``compact``. A number that JSON does

    not have becomes null, and a line in the log.
    """
    separators = (",", ":") if compact else None

    def write(written: Any) -> str:
        return json.dumps(written, allow_nan=False, ensure_ascii=not compact, separators=separators)

    try:
        return write(value)
    except ValueError:
        _LOG.error("number-not-finite")
        return write(_finite(value))


class JsonResponse(JSONResponse):
    """A body that ``write_json`` writes, so that no result ends in a 500."""

    def render(self, content: Any) -> bytes:
        """In ASCII: half of a surrogate pair, which a model may write, has no UTF-8."""
        return write_json(content).encode()


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _finite(one) for key, one in value.items()}
        case list() | tuple():
            return [_finite(one) for one in value]
        case _:
            return value
