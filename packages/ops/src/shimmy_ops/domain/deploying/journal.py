"""What became of each deploy: lines beside the releases' records, only ever added to."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

Outcome: TypeAlias = Literal["begun", "in-place", "returned", "failed", "checks-failed"]


@dataclass(frozen=True, slots=True)
class Deployed:
    """``release`` is the record's number, 0 where none was written yet; ``said`` is no secret."""

    at: str
    target: str
    version: str
    outcome: Outcome
    release: int = 0
    said: str = ""


def encode_deployed(deployed: Deployed) -> str:
    """One line."""
    return json.dumps(asdict(deployed)) + "\n"
