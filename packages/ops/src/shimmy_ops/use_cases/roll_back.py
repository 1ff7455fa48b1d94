"""Put the release before the one in place back, and write down that it was done."""

from __future__ import annotations

from collections.abc import Callable

from shimmy_ops.domain.releases.choosing import check_rollback, choose_rollback, decide_rollback
from shimmy_ops.domain.releases.records import History, Part, Release
from shimmy_ops.domain.releases.state import Journal, State
from shimmy_ops.errors import ReleaseError
from shimmy_ops.use_cases.put_in_place import Yard, put_in_place


def roll_back(
    wanted: int | str | None, yard: Yard, agree: Callable[[Release], None], *, force: bool
) -> Release:
    """The record that is in place then. The caller holds the shelf; the same again goes on.

    ``agree`` raises where nobody wants it. Raises ReleaseError where objects are damaged, or
    (unless ``force``) where the release never was good or the ledger is newer than it knows.
    """
    history, state = yard.shelf.history(), yard.shelf.state()
    if state.journal is not None:
        return _go_on(wanted, history, state.journal, yard)
    target = choose_rollback(history, state, wanted)
    if _is_active(target, history, state):
        yard.told(f"release {target.number} is in place already")
        return target
    doubts = check_rollback(target, state, yard.witness.schema())
    if doubts and not force:
        raise ReleaseError(
            "rollback-doubtful",
            "Not rolled back: " + "; ".join(doubts) + ".",
            hint="--force does it all the same.",
        )
    damage = [one for digest in target.parts.values() for one in yard.shelf.damage(digest)]
    if damage or history.problems:
        raise ReleaseError(
            "rollback-damaged",
            "Not rolled back:\n  " + "\n  ".join((*history.problems, *damage)),
            hint="Nothing was changed. Recording the same contents again mends an object.",
        )
    agree(target)
    release = decide_rollback(history, state, target, yard.now().isoformat())
    if release not in history.releases:
        yard.shelf.append(release)
    for part in sorted(_unsaid(target, history, state)):
        yard.told(f"{part}: release {target.number} has none; left as it is")
    put_in_place(release, yard)
    return release


def _go_on(wanted: int | str | None, history: History, journal: Journal, yard: Yard) -> Release:
    """A rollback that was cut off is ended; anything else that was is ended by `resume`."""
    release = history.find(journal.target)
    fits = release.restores is not None and (
        wanted is None or history.find(wanted).origin == release.restores
    )
    if not fits:
        raise ReleaseError(
            "rollback-unfinished",
            f"Release {journal.target} is half in place.",
            hint="shimmy-ops release resume ends that first.",
        )
    yard.told(f"going on with {release.number}, which was cut off")
    put_in_place(release, yard)
    return release


def _is_active(target: Release, history: History, state: State) -> bool:
    return state.active is not None and history.find(state.active).origin == target.number


def _unsaid(target: Release, history: History, state: State) -> set[Part]:
    active = {} if state.active is None else history.find(state.active).parts
    return set(active) - set(target.parts)
