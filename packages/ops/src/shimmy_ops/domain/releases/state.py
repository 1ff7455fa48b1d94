"""What is in place, what was good, and what is half done: one file, written whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from shimmy_ops.domain.releases.records import PARTS, Part
from shimmy_ops.errors import ReleaseError

Stage: TypeAlias = Literal["switching", "returning"]


@dataclass(frozen=True, slots=True)
class Seen:
    """When a release had passed its smoke test, and the ledger's schema then (None: untold)."""

    at: str
    schema: int | None = None


@dataclass(frozen=True, slots=True)
class Journal:
    """A release that is being put in place, or taken back again.

    ``before`` is what the places held of ``parts``, in their own words; ``reason`` why it is taken
    back.
    """

    target: int
    parts: tuple[Part, ...]
    before: Mapping[Part, str]
    stage: Stage = "switching"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """``active`` is the record in place, None before the first."""

    active: int | None = None
    good: Mapping[int, Seen] = field(default_factory=dict)
    journal: Journal | None = None


def encode_state(state: State) -> str:
    """Its file's text."""
    journal = state.journal
    told = None if journal is None else {
        "target": journal.target,
        "parts": list(journal.parts),
        "before": dict(journal.before),
        "stage": journal.stage,
        "reason": journal.reason,
    }  # fmt: skip
    good = {str(number): [one.at, one.schema] for number, one in state.good.items()}
    return json.dumps({"active": state.active, "good": good, "journal": told}, indent=2) + "\n"


def parse_state(text: str) -> State:
    """Raises ReleaseError."""
    try:
        read = json.loads(text)
        good = {int(number): Seen(at, schema) for number, (at, schema) in read["good"].items()}
        return State(read["active"], good, _journal(read["journal"]))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ReleaseError(
            "release-state-damaged",
            "state.json of the releases is damaged.",
            hint="Take it from a backup; without it nobody knows what was in place before.",
        ) from error


def _journal(read: Mapping[str, Any] | None) -> Journal | None:
    if read is None:
        return None
    named = {part: read["before"].get(part, "") for part in PARTS if part in read["parts"]}
    return Journal(read["target"], tuple(named), named, read["stage"], read["reason"])
