"""All checks, which of them are wanted, and what they say together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from shimmy_ops.domain.preflight.address_checks import ADDRESS_CHECKS
from shimmy_ops.domain.preflight.catalog_checks import CATALOG_CHECKS
from shimmy_ops.domain.preflight.checking import Check, Family, Finding, Outcome, judge_checks
from shimmy_ops.domain.preflight.credential_checks import CREDENTIAL_CHECKS
from shimmy_ops.domain.preflight.delivery_checks import DELIVERY_CHECKS
from shimmy_ops.domain.preflight.facts import SOURCES, Facts, Source
from shimmy_ops.domain.preflight.payment_checks import PAYMENT_CHECKS
from shimmy_ops.domain.preflight.readiness_checks import READINESS_CHECKS
from shimmy_ops.domain.preflight.store_checks import STORE_CHECKS
from shimmy_ops.errors import ProfileError

_FAMILIES: tuple[Family, ...] = get_args(Family)
_LISTED = (
    *CREDENTIAL_CHECKS,
    *CATALOG_CHECKS,
    *PAYMENT_CHECKS,
    *DELIVERY_CHECKS,
    *ADDRESS_CHECKS,
    *STORE_CHECKS,
    *READINESS_CHECKS,
)
CHECKS: tuple[Check, ...] = tuple(sorted(_LISTED, key=lambda one: _FAMILIES.index(one.family)))
"""By family, in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Report:
    """``store_version`` is empty where the store was not heard."""

    findings: tuple[Finding, ...]
    store_version: str = ""

    @property
    def counts(self) -> Mapping[Outcome, int]:
        """How many checks came out how."""
        counted = Counter(one.outcome for one in self.findings)
        return {outcome: counted[outcome] for outcome in get_args(Outcome)}

    def passes(self, *, strict: bool = False) -> bool:
        """No error failed or stayed unknown; ``strict``: no warning either."""
        serious = ("error", "warning") if strict else ("error",)
        return not any(
            one.outcome in ("failed", "unknown") and one.level in serious for one in self.findings
        )


def choose_checks(only: Sequence[str], skip: Sequence[str]) -> tuple[Check, ...]:
    """Those of ``only`` (none: all) without those of ``skip``; families count for all of theirs.

    Raises ProfileError for what is neither a check nor a family, and where no check is left.
    """
    known = {one.id for one in CHECKS} | set(_FAMILIES)
    unknown = [one for one in (*only, *skip) if one not in known]
    if unknown:
        raise ProfileError(
            "check-unknown",
            f"There is no check {', '.join(unknown)}.",
            hint=f"Checks are {', '.join(one.id for one in CHECKS)}; families are "
            f"{', '.join(_FAMILIES)}.",
        )
    wanted = [one for one in CHECKS if not only or _named(one, only)]
    chosen = tuple(one for one in wanted if not _named(one, skip))
    if not chosen:
        raise ProfileError("no-check-chosen", "No check is left of those that were named.")
    return chosen


def _named(check: Check, names: Sequence[str]) -> bool:
    return check.id in names or check.family in names


def needed_sources(checks: Iterable[Check]) -> tuple[Source, ...]:
    """What has to be gathered for these checks."""
    needed = {name for one in checks for name in one.needs}
    return tuple(one for one in SOURCES if one in needed)


def check_facts(checks: Sequence[Check], facts: Facts) -> tuple[Finding, ...]:
    """Every check judged."""
    return tuple(judge_checks(checks, facts))
