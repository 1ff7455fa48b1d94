"""A picture as JSON: what ``--json`` prints and ``/picture.json`` answers."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

from shimmy_ops.domain.monitoring.picture import Picture, Unknown


def picture_document(picture: Picture) -> dict[str, Any]:
    """Names as in ``picture``; times ISO 8601 in UTC; ``{"unknown": reason}`` for what is.

    Only what JSON has: a number that is none (infinite) is null.
    """
    return {one.name: _plain(getattr(picture, one.name)) for one in fields(picture)}


def _plain(value: Any) -> Any:
    if isinstance(value, Unknown):
        return {"unknown": value.reason}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
