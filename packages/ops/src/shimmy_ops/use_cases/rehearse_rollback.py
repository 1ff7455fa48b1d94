"""Two releases in a place of their own: forward, back, and forward again, each looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from shimmy_ops.domain.releases.records import History, Release
from shimmy_ops.errors import ReleaseError
from shimmy_ops.use_cases.put_in_place import Yard, put_in_place
from shimmy_ops.use_cases.roll_back import roll_back


@dataclass(frozen=True, slots=True)
class Scratch:
    """A yard where nothing is in place; ``wrong`` says what is not as the release has it.

    ``clock`` in seconds.
    """

    yard: Yard
    wrong: Callable[[Release], list[str]]
    clock: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """One switch that was looked at, and the seconds it took."""

    said: str
    seconds: float


def rehearse_rollback(pair: tuple[Release, Release], scratch: Scratch) -> tuple[Rehearsed, ...]:
    """``pair`` is the older and the newer one, whose objects are in ``scratch`` already.

    Raises ReleaseError where anything is not as it must be.
    """
    shelf, done = scratch.yard.shelf, list[Rehearsed]()
    history = History(())
    for number, one in enumerate(pair, 1):
        last = history.releases[-1].digest if history.releases else ""
        shelf.append(replace(one, number=number, previous=last, restores=None))
        history = shelf.history()
    older, newer = history.releases
    with shelf.hold():
        moves: tuple[tuple[str, Release, Callable[[], object]], ...] = (
            ("put in place", older, lambda: put_in_place(older, scratch.yard)),
            ("put in place", newer, lambda: put_in_place(newer, scratch.yard)),
            ("rolled back to", older, lambda: _back(None, scratch)),
            ("rolled forward to", newer, lambda: _back(newer.number, scratch)),
        )
        for said, release, move in moves:
            began = scratch.clock()
            move()
            seconds = scratch.clock() - began
            _look(release, scratch)
            done.append(Rehearsed(f"{said} {pair[release.number - 1].version}", seconds))
    return tuple(done)


def _back(wanted: int | None, scratch: Scratch) -> None:
    roll_back(wanted, scratch.yard, _agreed, force=False)


def _agreed(_: Release) -> None:
    """In a rehearsal nobody has to be asked."""


def _look(release: Release, scratch: Scratch) -> None:
    wrong = scratch.wrong(release)
    if wrong:
        raise ReleaseError(
            "rehearsal-failed",
            "The rehearsal failed: " + "; ".join(wrong[:10]),
            hint="Nothing that is in use was touched.",
        )
