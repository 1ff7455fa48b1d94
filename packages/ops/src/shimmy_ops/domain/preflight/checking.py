"""A check, what may come of it, and how it is judged from facts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from shimmy_ops.domain.preflight.facts import Facts, Source, Unasked
from shimmy_ops.domain.profile import Profile
from shimmy_ops.errors import OpsError

Level: TypeAlias = Literal["error", "warning", "info"]
Outcome: TypeAlias = Literal["held", "failed", "unknown", "skipped"]
Family: TypeAlias = Literal[
    "credentials",
    "catalog",
    "payments",
    "webhook",
    "clock",
    "store",
    "mail",
    "backups",
    "site",
    "safety",
]


Need: TypeAlias = Source | Literal["profile", "now", "version"]


@dataclass(frozen=True, slots=True)
class Held:
    """It is as it should be; ``found`` is one sentence."""

    found: str


@dataclass(frozen=True, slots=True)
class Failed:
    """It is not; ``remedy`` where it is another than the check's."""

    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """It does not count for this profile."""

    why: str


Verdict: TypeAlias = Held | Failed | Skipped | Unasked


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold.

    ``needs``      what ``judge`` is called with, in this order: sources, ``profile``, ``now``,
                   ``version``
    ``live``       the level in live mode, where it is another
    ``hears_all``  ``judge`` is also called where nothing was gathered: that says enough here
    """

    id: str
    family: Family
    level: Level
    title: str
    needs: tuple[Need, ...]
    judge: Callable[..., Verdict]
    remedy: str
    live: Level | None = None
    hears_all: bool = False

    def level_in(self, profile: Profile) -> Level:
        """How much it counts there."""
        return self.live if profile.livemode and self.live else self.level


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of a check."""

    id: str
    family: Family
    level: Level
    title: str
    outcome: Outcome
    found: str
    remedy: str = ""


def judge_checks(checks: Iterable[Check], facts: Facts) -> Iterator[Finding]:
    """Each check by what was gathered for it; where that is missing, it is unknown."""
    for check in checks:
        yield _finding(check, _judged(check, facts), facts.profile)


def _judged(check: Check, facts: Facts) -> Verdict:
    given = [facts.answer(name) for name in check.needs]
    missing = [one for one in given if isinstance(one, Unasked)]
    for one in missing:
        if one.needless:
            return Skipped(one.why)
    if missing and not check.hears_all:
        return missing[0]
    try:
        return check.judge(*given)
    except OpsError as error:
        # What was found is ambiguous, so that a person must decide.
        return Failed(error.message, error.hint)


def _finding(check: Check, verdict: Verdict, profile: Profile) -> Finding:
    level = check.level_in(profile)

    def made(outcome: Outcome, found: str, remedy: str = "") -> Finding:
        told = _addressed(remedy, profile)
        return Finding(check.id, check.family, level, check.title, outcome, found, told)

    match verdict:
        case Held(found):
            return made("held", found)
        case Failed(found, remedy):
            return made("failed", found, remedy or check.remedy)
        case Skipped(why):
            return made("skipped", why)
        case Unasked(why, remedy):
            return made("unknown", why, remedy or check.remedy)


def _addressed(remedy: str, profile: Profile) -> str:
    """Commands as they are typed for this profile."""
    named = remedy.replace("OPS_PROFILE_", f"OPS_{profile.name.upper()}_")
    mode = "live" if profile.livemode else "test"
    return named.replace("--profile PROFILE", f"--profile {profile.name}").replace(
        "--mode MODE", f"--mode {mode}"
    )


def listed(names: Iterable[str]) -> str:
    """Names as they stand in a sentence."""
    return ", ".join(names)
