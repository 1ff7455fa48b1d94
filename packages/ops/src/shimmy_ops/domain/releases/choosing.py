"""Which record is written, and which release a rollback puts back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shimmy_ops.domain.releases.records import History, Part, Release
from shimmy_ops.domain.releases.state import State
from shimmy_ops.errors import ReleaseError


@dataclass(frozen=True, slots=True)
class Named:
    """What is said of a release by whoever makes it."""

    version: str
    revision: str
    store_version: str = ""


def decide_release(
    history: History, state: State, named: Named, given: Mapping[Part, str], made: str
) -> Release:
    """The record of these parts: the one that is there already, or one to be appended.

    What is not given is as in the record in place. Raises ReleaseError where the version stands for
    something else already, or nothing was ever given.
    """
    whole = {**_active_parts(history, state), **given}
    for one in history.releases:
        if one.restores is None and one.version == named.version:
            same = {part: one.parts.get(part) for part in given} == dict(given)
            if same and (one.revision, one.store_version) == (named.revision, named.store_version):
                return one
            raise ReleaseError(
                "release-version-taken",
                f"Version {named.version} is release {one.number} already, with other contents.",
                hint="History is not rewritten: give another version.",
            )
    if not given:
        raise ReleaseError("release-empty", "A release needs something: --site, --env or --worker.")
    return _appended(history, named, whole, made)


def choose_rollback(history: History, state: State, wanted: int | str | None) -> Release:
    """The release to put back: the one named, or the one that was good before the one in place.

    Raises ReleaseError where there is none.
    """
    if state.active is None:
        raise ReleaseError("nothing-released", "No release is in place yet.")
    if wanted is not None:
        return history.find(history.find(wanted).origin)
    active = history.find(state.active)
    before = [
        one
        for one in history.releases
        if one.restores is None and one.number in state.good and one.number < active.origin
    ]
    if not before:
        raise ReleaseError(
            "nothing-before",
            f"Before release {active.origin} none was in place that had passed its smoke test.",
            hint="shimmy-ops release list shows what there is; --to names one.",
        )
    return before[-1]


def decide_rollback(history: History, state: State, target: Release, made: str) -> Release:
    """The rollback's own record: one that nobody got to use, or one to be appended."""
    last = history.releases[-1]
    if last.restores == target.number and last.number not in state.good:
        return last
    named = Named(target.version, target.revision, target.store_version)
    return _appended(history, named, target.parts, made, restores=target.number)


def check_rollback(target: Release, state: State, schema: int | None) -> list[str]:
    """Why ``target`` should not be put back, as far as is known; ``schema`` is the ledger's now."""
    seen = state.good.get(target.number)
    if seen is None:
        return [f"release {target.number} never passed its smoke test"]
    if schema is not None and seen.schema is not None and schema > seen.schema:
        return [
            f"the ledger has schema {schema}, and release {target.number} was seen with "
            f"{seen.schema}: it may not know the newer one"
        ]
    return []


def _active_parts(history: History, state: State) -> Mapping[Part, str]:
    return {} if state.active is None else history.find(state.active).parts


def _appended(
    history: History,
    named: Named,
    parts: Mapping[Part, str],
    made: str,
    restores: int | None = None,
) -> Release:
    last = history.releases[-1] if history.releases else None
    return Release(
        number=last.number + 1 if last else 1,
        version=named.version,
        revision=named.revision,
        made=made,
        parts=dict(parts),
        previous=last.digest if last else "",
        restores=restores,
        store_version=named.store_version,
    )
