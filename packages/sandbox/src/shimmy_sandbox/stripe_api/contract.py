"""``contracts/webhook_events.json``: packed into the wheel, or the repository's when in place."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

_NAME = "webhook_events.json"


def read_events() -> tuple[str, ...]:
    """The types of events that a store subscribes to, in the contract's order."""
    packed = resources.files("shimmy_sandbox") / "contracts" / _NAME
    in_place = Path(__file__).resolve().parents[5] / "contracts" / _NAME
    text = packed.read_text() if packed.is_file() else in_place.read_text()
    return tuple(json.loads(text)["events"])
