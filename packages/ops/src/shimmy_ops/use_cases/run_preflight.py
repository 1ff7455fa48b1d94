"""Gather what the wanted checks rest on, and judge them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from shimmy_ops.domain.preflight.checking import Check
from shimmy_ops.domain.preflight.facts import Facts, Page, Source
from shimmy_ops.domain.preflight.registry import Report, check_facts, needed_sources
from shimmy_ops.domain.preflight.store_checks import running_version
from shimmy_ops.domain.profile import Profile
from shimmy_ops.ports.surroundings import Gatherer, Surroundings, Told, Way

_PATIENCE_SECONDS = 60.0
_LONGER: Mapping[Source, float] = {"tree_scan": 300.0, "site_check": 120.0}
# What is timed is asked first, and nothing beside it.
_TIMED: tuple[Source, ...] = ("health", "pricing", "stripe_clock", "store_clock")
_AT_ONCE = 8


def run_preflight(
    checks: Sequence[Check],
    profile: Profile,
    surroundings: Surroundings,
    gatherer: Gatherer,
    told: Told,
    *,
    now: datetime,
    version: str,
) -> Report:
    """Never raises for what cannot be asked: the checks that rest on it are unknown."""
    wanted = needed_sources(checks)
    ways = {one: _way(surroundings, one) for one in wanted}
    timed = {one: way for one, way in ways.items() if one in _TIMED}
    others = {one: way for one, way in ways.items() if one not in _TIMED}
    answers: dict[Source, Any] = {
        **gatherer.gather(timed, 1, told),
        **gatherer.gather(others, _AT_ONCE, told),
    }
    findings = check_facts(checks, Facts(profile, now, version, answers))
    health = answers.get("health")
    return Report(findings, running_version(health) if isinstance(health, Page) else "")


def _way(surroundings: Surroundings, source: Source) -> Way:
    # The port has a method of each source's name.
    return Way(getattr(surroundings, source), _LONGER.get(source, _PATIENCE_SECONDS))
