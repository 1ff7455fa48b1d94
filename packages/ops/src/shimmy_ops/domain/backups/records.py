"""What is known of the backups that were made, and which of them may go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from shimmy_ops.errors import BackupError


@dataclass(frozen=True, slots=True)
class BackupRecord:
    """``verified`` None: nobody has read it since. ``rows`` are the ledger's."""

    file: str
    made: str
    verified: str | None
    sha256: str
    rows: int


def parse_records(read: Sequence[Mapping[str, Any]]) -> tuple[BackupRecord, ...]:
    """Newest last. Raises BackupError."""
    try:
        return tuple(
            BackupRecord(
                str(one["file"]),
                str(one["made"]),
                None if one["verified"] is None else str(one["verified"]),
                str(one["sha256"]),
                int(one["rows"]),
            )
            for one in read
        )
    except (LookupError, TypeError, ValueError) as error:
        raise BackupError(
            "backup-records-damaged",
            "backups.json is no list of backups any more.",
            hint="Move it away: backups that are there can be verified by their names.",
        ) from error


def record_documents(records: Sequence[BackupRecord]) -> list[dict[str, Any]]:
    """As they are kept."""
    return [asdict(one) for one in records]


def note_verified(records: Sequence[BackupRecord], found: BackupRecord) -> tuple[BackupRecord, ...]:
    """With ``found`` as read now; one that was made elsewhere is added in its place in time."""
    known = [one for one in records if one.sha256 == found.sha256]
    if known:
        return tuple(
            replace(one, verified=found.verified, file=found.file)
            if one.sha256 == found.sha256
            else one
            for one in records
        )
    return tuple(sorted((*records, found), key=lambda one: one.made))


def plan_prune(records: Sequence[BackupRecord], keep: int) -> tuple[BackupRecord, ...]:
    """Those that may go, oldest first: all but the newest ``keep`` and the last verified one."""
    verified = [one for one in records if one.verified]
    last = max(verified, key=lambda one: one.made, default=None)
    ordered = sorted(records, key=lambda one: one.made)
    older = ordered[: max(0, len(ordered) - keep)]
    return tuple(one for one in older if one != last)
