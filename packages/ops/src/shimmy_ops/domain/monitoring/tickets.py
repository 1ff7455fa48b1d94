"""Support's tickets, from a table or from letters; nobody's name or words are kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from shimmy_ops.domain.monitoring.picture import Support
from shimmy_ops.errors import MonitorError

COLUMNS = ("opened", "first_reply", "closed")


@dataclass(frozen=True, slots=True)
class Ticket:
    """``replied`` and ``closed`` are None until it is."""

    opened: datetime
    replied: datetime | None
    closed: datetime | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail: its id, those that it answers, and whether we wrote it."""

    id: str
    answers: tuple[str, ...]
    sent: datetime
    ours: bool


def parse_rows(rows: Iterable[Mapping[str | None, str | None]]) -> tuple[Ticket, ...]:
    """From a table with the columns ``opened``, ``first_reply`` and ``closed``, times ISO 8601.

    Times without an offset are UTC. Raises MonitorError that names the line.
    """
    found = []
    for number, row in enumerate(rows, start=2):
        try:
            opened = datetime.fromisoformat((row.get("opened") or "").strip())
            replied, closed = _moment(row.get("first_reply")), _moment(row.get("closed"))
        except ValueError as error:
            raise MonitorError(
                "tickets-malformed",
                f"Line {number} of the tickets has no time, or one that is none.",
                hint=f"The columns {', '.join(COLUMNS)} hold times as 2026-11-26T09:30:00Z; only "
                "opened must be there.",
            ) from error
        found.append(Ticket(_utc(opened), replied, closed))
    return tuple(found)


def threads_of(letters: Iterable[Letter]) -> tuple[Ticket, ...]:
    """One ticket a thread that somebody else began; our first letter in it is the reply.

    Letters belong together that answer each other, or the same letter, even one that is not there.
    """
    roots: dict[str, str] = {}

    def root(name: str) -> str:
        while roots.setdefault(name, name) != name:
            roots[name] = roots[roots[name]]
            name = roots[name]
        return name

    ordered = sorted(letters, key=lambda one: one.sent)
    for letter in ordered:
        for answered in letter.answers:
            roots[root(answered)] = root(letter.id)
    threads: dict[str, list[Letter]] = {}
    for letter in ordered:
        threads.setdefault(root(letter.id), []).append(letter)
    return tuple(_ticket(thread) for thread in threads.values() if not thread[0].ours)


def _ticket(thread: Sequence[Letter]) -> Ticket:
    return Ticket(thread[0].sent, next((one.sent for one in thread if one.ours), None))


def support_of(
    tickets: Sequence[Ticket], customers: int | None, since: datetime, until: datetime
) -> Support:
    """Of tickets opened in the window; ``customers`` None where nobody knows how many there are."""
    opened = [one for one in tickets if since <= one.opened <= until]
    times = sorted((one.replied - one.opened).total_seconds() for one in opened if one.replied)
    waiting = [one for one in tickets if one.replied is None and one.closed is None]
    oldest = min((one.opened for one in waiting), default=None)
    return Support(
        len(opened),
        len(times),
        sum(one in opened for one in waiting),
        None if oldest is None else (until - oldest).total_seconds(),
        100 * len(opened) / customers if customers else None,
        _rank(times, 50),
        _rank(times, 95),
    )


def _rank(ordered: Sequence[float], percent: int) -> float | None:
    """The smallest that ``percent`` of all do not exceed."""
    return ordered[-(-percent * len(ordered) // 100) - 1] if ordered else None


def _moment(text: str | None) -> datetime | None:
    if text is None or not text.strip():
        return None
    return _utc(datetime.fromisoformat(text.strip()))


def _utc(read: datetime) -> datetime:
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
