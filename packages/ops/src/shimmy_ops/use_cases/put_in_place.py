"""Put a release in place, see that it answers, and take it back by itself where it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NoReturn

from shimmy_ops.domain.releases.config_file import parse_config
from shimmy_ops.domain.releases.records import PARTS, Part, Release
from shimmy_ops.domain.releases.smoke import Expected, judge_answers
from shimmy_ops.domain.releases.state import Journal, Seen, State
from shimmy_ops.errors import OpsError, ReleaseError
from shimmy_ops.ports.releases import Places, Shelf, Witness


@dataclass(frozen=True, slots=True)
class Yard:
    """What putting in place works with; ``told`` hears of each step.

    ``paths`` of the store are asked for; ``mode`` is the profile's, ``site`` whether it is served
    where we can ask.
    """

    shelf: Shelf
    places: Places
    witness: Witness
    paths: tuple[str, ...]
    mode: str
    site: bool
    now: Callable[[], datetime]
    told: Callable[[str], None]


def put_in_place(release: Release, yard: Yard) -> None:
    """May be cut off anywhere: the same again goes on. The caller holds the shelf.

    Raises ReleaseError: `release-returned` where it did not answer and what was before is in place
    again, `release-not-well` where that does not answer either, `release-not-returned` where a
    part could not be put back.
    """
    state = yard.shelf.state()
    journal = state.journal
    if journal is not None and journal.target != release.number:
        raise ReleaseError(
            "release-unfinished",
            f"Release {journal.target} is half in place.",
            hint="shimmy-ops release resume ends that first.",
        )
    if journal is not None and journal.stage == "returning":
        _take_back(state, journal, yard)
    _refuse_damaged(release, state, yard)
    if journal is None:
        journal = _begin(release, state, yard)
        # Where nothing is to be switched there is nothing to go on with.
        state = replace(state, journal=journal if journal.parts else None)
        yard.shelf.keep_state(state)
    problem = _switch(release, journal, yard)
    if problem:
        _fail(problem, state, journal, yard)
    seen = Seen(yard.now().isoformat(), yard.witness.schema())
    good = {**state.good, release.number: seen}
    yard.shelf.keep_state(State(release.number, good))


def _refuse_damaged(release: Release, state: State, yard: Yard) -> None:
    damage = [one for digest in release.parts.values() for one in yard.shelf.damage(digest)]
    if damage and state.journal is not None:
        # It cannot go on: better what was before than two halves.
        _fail("what it consists of is damaged", state, state.journal, yard)
    if damage:
        raise ReleaseError(
            "object-damaged",
            f"What release {release.number} consists of is damaged:\n  " + "\n  ".join(damage),
            hint="Nothing was changed. Recording the same contents again mends it.",
        )


def _begin(release: Release, state: State, yard: Yard) -> Journal:
    managed = yard.places.managed()
    for part in release.parts:
        if part not in managed:
            yard.told(f"{part}: the profile names no place for it; left alone")
    parts = tuple(
        part for part in PARTS if part in managed and _differs(part, release, state, yard)
    )
    before = {part: _before(part, state, yard) for part in parts}
    return Journal(release.number, parts, before)


def _differs(part: Part, release: Release, state: State, yard: Yard) -> bool:
    if part not in release.parts:
        return False
    holds = yard.places.holds(part, release.parts[part])
    if holds is None:
        return _active_parts(state, yard).get(part) != release.parts[part]
    return not holds


def _before(part: Part, state: State, yard: Yard) -> str:
    return yard.places.remember(part) or _active_parts(state, yard).get(part, "")


def _active_parts(state: State, yard: Yard) -> dict[Part, str]:
    return {} if state.active is None else dict(yard.shelf.history().find(state.active).parts)


def _switch(release: Release, journal: Journal, yard: Yard) -> str:
    """What went wrong; empty if nothing did."""
    started = yard.witness.started() if journal.parts and yard.places.restarts() else ""
    try:
        for part in journal.parts:
            yard.places.put(part, release.parts[part])
            yard.told(f"{part}: {release.parts[part][:12]} is in place")
    except OpsError as error:
        return error.message
    problem = yard.places.restart() if journal.parts else ""
    return problem or _smoke(release, yard, started)


def _smoke(release: Release | None, yard: Yard, started: str = "") -> str:
    expected = _expected(release, yard, started)
    yard.witness.begin()
    while True:
        answers = yard.witness.answers(
            expected.paths, site=bool(expected.index), started=bool(expected.started)
        )
        problems = judge_answers(expected, answers)
        if not problems or not yard.witness.pause():
            return "; ".join(problems)


def _expected(release: Release | None, yard: Yard, started: str) -> Expected:
    if release is None:
        return Expected(yard.paths)
    managed, mode, index = yard.places.managed(), yard.mode, ""
    if "config" in release.parts and "config" in managed:
        mode = parse_config(yard.shelf.config_text(release.parts["config"])).mode or mode
    if yard.site and "site" in release.parts and "site" in managed:
        index = yard.shelf.index_digest(release.parts["site"])
    return Expected(yard.paths, mode, release.store_version, index, started)


def _fail(problem: str, state: State, journal: Journal, yard: Yard) -> NoReturn:
    if not journal.parts:
        raise ReleaseError(
            "smoke-test-failed",
            f"Release {journal.target} is in place and does not answer as it must: {problem}.",
            hint="Nothing was changed. Look at the store's log; "
            "shimmy-ops rollback puts the release before it in place.",
        )
    yard.told(f"failed: {problem}")
    _take_back(state, replace(journal, stage="returning", reason=problem), yard)


def _take_back(state: State, journal: Journal, yard: Yard) -> NoReturn:
    """Always raises ReleaseError: what was to be in place is not."""
    yard.shelf.keep_state(replace(state, journal=journal))
    failed = f"Release {journal.target} failed ({journal.reason})"
    problems = _put_back(journal, yard)
    restarted = yard.places.restart()
    if problems:
        raise ReleaseError(
            "release-not-returned",
            f"{failed}, and what was before could not be put back: {'; '.join(problems)}",
            hint="Mend that, then shimmy-ops release resume.",
        )
    active = None if state.active is None else yard.shelf.history().find(state.active)
    problem = restarted or _smoke(active, yard)
    # All that can be put back is: whatever comes next must not have to wait for this one.
    yard.shelf.keep_state(replace(state, journal=None))
    lost = _forgotten(journal, yard)
    if lost:
        problem = problem or f"which {lost[0]} was there before, nobody knows: deploy it by hand"
    if problem:
        raise ReleaseError(
            "release-not-well",
            f"{failed}. What was before is in place again, and is not well: {problem}.",
            hint="Look at the store's log, and whether Stripe and Keygen answer.",
        )
    raise ReleaseError(
        "release-returned",
        f"{failed}. What was before is in place again and answers.",
        hint="Mend it and record it under another version.",
    )


def _put_back(journal: Journal, yard: Yard) -> list[str]:
    """Every part, whatever becomes of another; what could not be."""
    problems = []
    for part in reversed(journal.parts):
        if part in _forgotten(journal, yard):
            continue
        try:
            yard.places.put_back(part, journal.before[part])
            yard.told(f"{part}: what was before is in place again")
        except OpsError as error:
            problems.append(f"{part}: {error.message}")
    return problems


def _forgotten(journal: Journal, yard: Yard) -> list[Part]:
    """What a command replaced, and nobody knows what was there before."""
    return [
        part
        for part in journal.parts
        if part in yard.places.commanded() and not journal.before[part]
    ]
