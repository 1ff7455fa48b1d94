"""What is left to do at Keygen until a licence is as it should be.

Decided from the licence as it is, so that it may be interrupted anywhere and begun again. A new
month is the one change of several steps: it is announced, the count of pages is reset, and the
reset is noted. Customers' machines report nothing for five minutes after an announcement, so that
no report falls on both sides of a reset (docs/licensing.md, "What fulfilment must write").
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias

from shimmy_store.domain.catalog import PlanId
from shimmy_store.domain.fulfilment import Licence

OFFLINE_GRACE_HOURS = 24
# Machines hold their reports back for five minutes; a reset must follow its announcement sooner.
ANNOUNCED_FOR = timedelta(minutes=4)

Metadata: TypeAlias = Mapping[str, str | int]
_PERIOD = ("pages_period_start", "pages_period_end", "pages_reset_at", "pages_reset_for")


@dataclass(frozen=True, slots=True)
class IssuedLicence:
    """A licence as Keygen has it; ``plan`` None is a policy that is none of ours."""

    id: uuid.UUID
    plan: PlanId | None
    expiry: datetime | None
    suspended: bool
    metadata: Metadata
    key: str = field(repr=False, default="")


@dataclass(frozen=True, slots=True)
class Create:
    """Make it, under an id that makes making it twice impossible."""

    id: uuid.UUID
    plan: PlanId
    expiry: datetime | None
    metadata: Metadata


@dataclass(frozen=True, slots=True)
class ChangePlan:
    """Move the same licence to another policy."""

    plan: PlanId


@dataclass(frozen=True, slots=True)
class Describe:
    """Set expiry and metadata; Keygen replaces metadata whole."""

    expiry: datetime | None
    metadata: Metadata


@dataclass(frozen=True, slots=True)
class ResetPages:
    """Count pages from nothing."""


@dataclass(frozen=True, slots=True)
class Suspend:
    """End access."""


@dataclass(frozen=True, slots=True)
class Reinstate:
    """Give access again."""


Step: TypeAlias = Create | ChangePlan | Describe | ResetPages | Suspend | Reinstate


def plan_convergence(
    wanted: Licence, customer: str, issued: IssuedLicence | None, now: datetime
) -> tuple[Step, ...]:
    """The steps from ``issued`` to ``wanted``, in an order that may be cut off anywhere.

    Access ends first and begins last.
    """
    if issued is None:
        metadata = {**_described(wanted, customer), **_month(wanted, reset_at=None, noted=True)}
        created = Create(wanted.id, wanted.plan, wanted.expiry, metadata)
        return (created, Suspend()) if wanted.suspended else (created,)
    steps: list[Step] = []
    if wanted.suspended and not issued.suspended:
        steps.append(Suspend())
    if issued.plan != wanted.plan:
        steps.append(ChangePlan(wanted.plan))
    steps.extend(_describe(wanted, customer, issued, now))
    if issued.suspended and not wanted.suspended:
        steps.append(Reinstate())
    return tuple(steps)


def _describe(
    wanted: Licence, customer: str, issued: IssuedLicence, now: datetime
) -> Iterator[Step]:
    kept = {name: value for name, value in issued.metadata.items() if name not in _PERIOD}
    described = {**kept, **_described(wanted, customer)}
    announced = issued.metadata.get("pages_reset_at")
    if _month_is_counted(wanted, issued):
        final = {**described, **_month(wanted, reset_at=announced, noted=True)}
        if (issued.expiry, dict(issued.metadata)) != (wanted.expiry, final):
            yield Describe(wanted.expiry, final)
        return
    pending = {**described, **_month(wanted, reset_at=announced, noted=False)}
    if not _is_announced(issued, pending, announced, now):
        announced = now.isoformat()
        pending = {**described, **_month(wanted, reset_at=announced, noted=False)}
        yield Describe(wanted.expiry, pending)
    yield ResetPages()
    yield Describe(wanted.expiry, {**described, **_month(wanted, reset_at=announced, noted=True)})


def _month_is_counted(wanted: Licence, issued: IssuedLicence) -> bool:
    """Whether the count at Keygen is of the month wanted, or none is."""
    if wanted.month is None:
        return True
    return issued.metadata.get("pages_reset_for") == wanted.month[0].isoformat()


def _is_announced(
    issued: IssuedLicence, pending: Metadata, announced: str | int | None, now: datetime
) -> bool:
    """Whether a reset would still come soon enough after what was announced before."""
    if dict(issued.metadata) != dict(pending) or not isinstance(announced, str):
        return False
    return timedelta(0) <= now - datetime.fromisoformat(announced) < ANNOUNCED_FOR


def _described(wanted: Licence, customer: str) -> dict[str, str | int]:
    return {
        "plan": wanted.plan,
        "customer": customer,
        "source": wanted.source,
        "offline_grace_hours": OFFLINE_GRACE_HOURS,
    }


def _month(wanted: Licence, *, reset_at: str | int | None, noted: bool) -> dict[str, str | int]:
    if wanted.month is None:
        return {}
    start, end = (one.isoformat() for one in wanted.month)
    month: dict[str, str | int] = {"pages_period_start": start, "pages_period_end": end}
    if reset_at is not None:
        month["pages_reset_at"] = reset_at
    if noted:
        month["pages_reset_for"] = start
    return month
