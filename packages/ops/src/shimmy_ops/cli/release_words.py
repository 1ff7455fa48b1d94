"""What `release` and `rollback` show."""

from __future__ import annotations

import json
from typing import Any

from shimmy_ops.cli.exit_codes import DONE
from shimmy_ops.domain.releases.records import PARTS, Release
from shimmy_ops.domain.releases.state import State
from shimmy_ops.errors import ReleaseError
from shimmy_ops.ports.releases import Places, Shelf
from shimmy_ops.use_cases.rehearse_rollback import Rehearsed


def show_history(shelf: Shelf, *, as_json: bool) -> int:
    """All records, the newest first; `*` is the one in place, `+` one that was good."""
    history, state = shelf.history(), shelf.state()
    if as_json:
        releases = [_document(one, state) for one in history.releases]
        print(json.dumps({"releases": releases, "problems": history.problems}, indent=2))
        return DONE
    for one in reversed(history.releases):
        mark = "*" if one.number == state.active else "+" if one.number in state.good else " "
        parts = " ".join(f"{part} {one.parts[part][:12]}" for part in PARTS if part in one.parts)
        again = f"  release {one.restores} again" if one.restores else ""
        print(f"{mark} {one.number:<4} {one.version:<16} {one.made[:19]}Z  {parts}{again}")
    for problem in history.problems:
        print(f"! {problem}")
    if not history.releases:
        print("no release was recorded yet")
    return DONE


def show_release(shelf: Shelf, wanted: int | str | None, *, as_json: bool) -> int:
    """One record. Raises ReleaseError where there is none."""
    state = shelf.state()
    chosen = state.active if wanted is None else wanted
    if chosen is None:
        raise ReleaseError("nothing-in-place", "No release is in place yet.")
    told = _document(shelf.history().find(chosen), state)
    if as_json:
        print(json.dumps(told, indent=2))
        return DONE
    for name, value in told.items():
        if isinstance(value, dict):
            for part, digest in value.items():
                print(f"{part:15}{digest}")
        elif value not in ("", None):
            print(f"{name:15}{value}")
    return DONE


def show_status(shelf: Shelf, places: Places, *, as_json: bool) -> bool:
    """What is in place, part by part; True where something is half done."""
    history, state = shelf.history(), shelf.state()
    active = None if state.active is None else history.find(state.active)
    parts = {part: _placed(part, active, places) for part in PARTS}
    journal = state.journal
    if as_json:
        half = journal and {"release": journal.target, "stage": journal.stage}
        print(json.dumps({"active": state.active, "parts": parts, "half done": half}, indent=2))
        return journal is not None
    print(f"in place       {active.number} ({active.version})" if active else "in place       none")
    for part, said in parts.items():
        print(f"{part:15}{said}")
    if journal is not None:
        doing = "being put in place" if journal.stage == "switching" else "being taken back"
        print(f"release {journal.target} is {doing}: shimmy-ops release resume goes on")
    return journal is not None


def show_rehearsal(pair: tuple[Release, Release], steps: tuple[Rehearsed, ...]) -> None:
    """Each move with its time."""
    for step in steps:
        print(f"{step.seconds * 1000:7.1f} ms  {step.said}")
    older, newer = (one.parts for one in pair)
    same = [part for part in PARTS if part in older and older[part] == newer.get(part)]
    for part in same:
        print(f"            {part} is the same in both")
    print("rollback rehearsed: every file was served as each release has it")


def _placed(part: Any, active: Release | None, places: Places) -> str:
    if part not in places.managed():
        return "the profile names no place"
    if active is None or part not in active.parts:
        return "nothing recorded"
    holds = places.holds(part, active.parts[part])
    if holds is None:
        return f"{active.parts[part][:12]} (nobody can look)"
    return f"{active.parts[part][:12]}" if holds else "another than recorded"


def _document(release: Release, state: State) -> dict[str, Any]:
    seen = state.good.get(release.number)
    return {
        "number": release.number,
        "version": release.version,
        "revision": release.revision,
        "made": release.made,
        "restores": release.restores,
        "store version": release.store_version,
        "parts": dict(release.parts),
        "in place": release.number == state.active,
        "good since": seen.at if seen else None,
        "ledger schema": seen.schema if seen else None,
        "digest": release.digest,
    }
