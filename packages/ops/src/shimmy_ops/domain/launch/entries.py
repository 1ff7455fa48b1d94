"""The signed record of a launch: one line an entry, each bound to the one before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from shimmy_ops.domain.launch.commands import canonical

Kind: TypeAlias = Literal["verified", "attested", "failed"]
FORMAT = "shimmy-launch/1"
NOTHING = "0" * 64
"""What the first entry has for the one before it."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a command said: ``size`` bytes; ``sha256`` is of the file that keeps it.

    ``whole``   whether the file has all of it; otherwise its beginning and end, and a note
    """

    sha256: str
    size: int
    whole: bool

    @property
    def file(self) -> str:
        """Where it is kept, within the launch's folder."""
        return f"output/{self.sha256}.txt"


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that ran to its end. ``exit_code`` is None where its time was up."""

    argv: tuple[str, ...]
    exit_code: int | None
    seconds: float
    output: Output
    errors: Output


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the record.

    ``previous``     SHA-256 of the line before
    ``digest``       of the task as the plan had it
    ``rehearsal``    whether it belongs to a rehearsal's record
    ``otherwise``    whether a rehearsal ran something else than the launch does
    ``run``, ``act`` what verified it, and what did it before; None where nothing was run
    ``by``, ``note`` of an attested one
    ``key``          fingerprint of the public key that the signature is for
    """

    number: int
    previous: str
    at: datetime
    task: str
    digest: str
    kind: Kind
    rehearsal: bool
    otherwise: bool = False
    run: Ran | None = None
    act: Ran | None = None
    by: str = ""
    note: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    signature: str = ""


def signed_part(entry: Entry) -> bytes:
    """What the signature is of."""
    return canonical(_document(entry))


def entry_line(entry: Entry) -> bytes:
    """The line without its end."""
    return canonical({**_document(entry), "signature": entry.signature})


def line_digest(line: bytes) -> str:
    """SHA-256 of a line without its end."""
    return hashlib.sha256(line).hexdigest()


def parse_entry(line: bytes) -> Entry | None:
    """None where it is no entry to the letter as ``entry_line`` writes it."""
    try:
        data = json.loads(line)
        if data.pop("format") != FORMAT:
            return None
        for name in ("run", "act"):
            data[name] = _ran(data[name])
        data["at"] = datetime.fromisoformat(data["at"])
        entry = Entry(**data)
        return entry if entry_line(entry) == line else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _ran(data: Mapping[str, Any] | None) -> Ran | None:
    if data is None:
        return None
    outputs = {name: Output(**data[name]) for name in ("output", "errors")}
    return Ran(**{**data, "argv": tuple(data["argv"]), **outputs})


def _document(entry: Entry) -> dict[str, Any]:
    shown = {name: value for name, value in asdict(entry).items() if name != "signature"}
    at = entry.at.astimezone(UTC).isoformat(timespec="milliseconds")
    return {**shown, "format": FORMAT, "at": at, "versions": dict(entry.versions)}
