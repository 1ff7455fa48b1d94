"""Fields in bulk: most of what Stripe promises is null most of the time."""

from __future__ import annotations

from typing import Any


def each(names: str, value: Any = None) -> dict[str, Any]:
    """Every one of ``names`` (space between) with ``value``."""
    return dict.fromkeys(names.split(), value)
