"""Known holes in pinned packages, as pip-audit tells them, and which of them may stay."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from shimmy_ops.domain.judging.allow_lists import HoleAllowance
from shimmy_ops.errors import ReleaseError


@dataclass(frozen=True, slots=True)
class Hole:
    """``lock`` is the file that pins it; ``fixed_in`` versions, none known where empty."""

    lock: str
    package: str
    version: str
    id: str
    aliases: tuple[str, ...]
    fixed_in: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Audited:
    """One lock file. ``unknown`` packages the service has never heard of; ``asked`` all of them.

    Where ``reached`` is false nothing is known, whatever else stands here, and ``why`` says more.
    """

    lock: str
    reached: bool
    holes: tuple[Hole, ...] = ()
    unknown: tuple[str, ...] = ()
    asked: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """What is left, what was allowed, and what to say of the list itself."""

    holes: tuple[Hole, ...]
    allowed: tuple[Hole, ...]
    warnings: tuple[str, ...]


def parse_audit(text: str, lock: str) -> Audited:
    """pip-audit's JSON. Raises ReleaseError.

    A service that knows none of the packages is none: some mirrors answer every question with 404,
    and pip-audit then says that it found nothing.
    """
    try:
        told = json.loads(text)["dependencies"]
        known = [one for one in told if "skip_reason" not in one]
        unknown = tuple(one["name"] for one in told if "skip_reason" in one)
        holes = tuple(
            Hole(lock, one["name"], one["version"], hole["id"], tuple(hole.get("aliases", ())),
                 tuple(hole["fix_versions"]))
            for one in known for hole in one["vulns"]
        )  # fmt: skip
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ReleaseError(
            "audit-malformed",
            f"pip-audit says something of another shape: {type(error).__name__}.",
            hint="Another version of it may be installed.",
        ) from error
    if told and not known:
        return Audited(lock, reached=False, why="the service knows none of the packages")
    return Audited(lock, True, holes, unknown, len(told))


def judge_holes(
    audits: Sequence[Audited], allowances: Sequence[HoleAllowance], today: date
) -> Judged:
    """Take away what is allowed; say which entries are over or needed by nothing."""
    valid = [one for one in allowances if one.expires >= today]
    left, allowed, used = list[Hole](), list[Hole](), set[HoleAllowance]()
    for hole in (hole for one in audits for hole in one.holes):
        covering = [one for one in valid if _covers(one, hole)]
        used.update(covering)
        (allowed if covering else left).append(hole)
    warnings = [f"{one} was allowed until {one.expires}" for one in allowances if one not in valid]
    if all(one.reached for one in audits):
        warnings += [f"{one} is allowed and was not found" for one in valid if one not in used]
    return Judged(tuple(left), tuple(allowed), tuple(warnings))


def _covers(allowance: HoleAllowance, hole: Hole) -> bool:
    return allowance.id in (hole.id, *hole.aliases) and allowance.package in ("", hole.package)
