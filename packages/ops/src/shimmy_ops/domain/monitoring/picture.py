"""Everything a dashboard shows, as one value.

Each section is its dataclass, or ``Unknown`` with the reason where its source could not be read:
one source that is down never blanks the rest. Times are aware, in UTC. Seconds are float seconds,
rates are shares of one (0.001 is 0.1 %), money is in minor units (cents) of ``currency``. No
section holds an address, a name or a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

ObjectiveState = Literal["held", "missed", "unknown"]
Severity = Literal["page", "ticket"]
AlertState = Literal["firing", "resolved"]
Unit = Literal["ratio", "seconds", "count", "money"]
DriftKind = Literal["paid-without-licence", "several-licences", "licence-without-payment"]


@dataclass(frozen=True, slots=True)
class Unknown:
    """Could not be read; ``reason`` is a sentence or a stable code, fit to be shown."""

    reason: str


@dataclass(frozen=True, slots=True)
class Spread:
    """How long something took, in seconds; all but ``count`` are None where it is 0."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None


@dataclass(frozen=True, slots=True)
class Window:
    """What the figures are of: the last ``hours`` hours, from ``since``.

    ``coverage`` is the share of them, 0..1, that has samples close enough to each other.
    """

    hours: float
    since: datetime
    coverage: float


@dataclass(frozen=True, slots=True)
class EndpointRequests:
    """Requests to one endpoint of the store in the window; ``endpoint`` is "" for all of them.

    ``errors`` were answered with 5xx. Percentiles are interpolated in the histogram's buckets;
    None without a request.
    """

    endpoint: str
    total: int
    errors: int
    p50: float | None
    p95: float | None
    p99: float | None

    @property
    def error_rate(self) -> float | None:
        """Errors of all requests, None without one."""
        return self.errors / self.total if self.total else None


@dataclass(frozen=True, slots=True)
class Requests:
    """Overall without /health, /metrics and the operator API, and by endpoint (most first)."""

    overall: EndpointRequests
    endpoints: tuple[EndpointRequests, ...]


@dataclass(frozen=True, slots=True)
class Availability:
    """What our own probes of /health found in the window, and what the last one did."""

    ratio: float | None
    probes: int
    up: int
    up_now: bool
    seconds_now: float
    failing: tuple[str, ...]
    """Names of the store's own checks that are not "ok" now: "stripe: too-slow"."""


@dataclass(frozen=True, slots=True)
class Webhooks:
    """Events as the store's ledger has them: sent by Stripe, received, settled."""

    heard: int
    pending: int
    parked: int
    oldest_pending_seconds: float | None
    delivery: Spread
    settling: Spread


@dataclass(frozen=True, slots=True)
class StripeDelivery:
    """Webhooks as Stripe has them: our endpoint, and events it could not hand over yet."""

    endpoint: Literal["enabled", "disabled", "missing"]
    undelivered: int
    oldest_undelivered_seconds: float | None


@dataclass(frozen=True, slots=True)
class Outbox:
    """Mail of the store: what waits, what was given up, how long sending takes."""

    waiting: int
    parked: int
    sent: int
    oldest_waiting_seconds: float | None
    sending: Spread


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that a person should look at (docs/store.md, "Alarms")."""

    code: str
    subject: str
    raised: datetime


@dataclass(frozen=True, slots=True)
class Alarms:
    """All that are open, oldest first."""

    open: tuple[Alarm, ...]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One customer or licence that is not as it was paid; ``subject`` is an id."""

    kind: DriftKind
    subject: str


@dataclass(frozen=True, slots=True)
class Drift:
    """Stripe and Keygen compared: ``paying`` customers against ``usable`` licences."""

    paying: int
    usable: int
    mismatches: tuple[Mismatch, ...]


@dataclass(frozen=True, slots=True)
class Losses:
    """Money that went back, or may, in the window; open disputes are of any time.

    ``not_counted`` says what is of another currency: "3 refunds in eur".
    """

    currency: str
    refunds: int
    refunded: int
    disputes: int
    disputed: int
    open_disputes: int
    not_counted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TierRevenue:
    """One plan. ``mrr`` is a month's money of its active subscriptions, 0 for one sold once."""

    plan: str
    name: str
    active: int
    mrr: int
    new: int
    cancelled: int
    sold_once: int
    sold_once_amount: int


@dataclass(frozen=True, slots=True)
class Revenue:
    """Subscriptions and sales. New, cancelled, sold once and failed are of the window.

    ``churn`` is cancelled ÷ active when the window began; None where none was. ``lifetime_sales``
    counts what is sold once, ``lifetime_amount`` its money.
    """

    currency: str
    mrr: int
    active: int
    new: int
    cancelled: int
    churn: float | None
    lifetime_sales: int
    lifetime_amount: int
    invoices_open: int
    invoices_failed: int
    tiers: tuple[TierRevenue, ...]
    statuses: tuple[tuple[str, int], ...]
    """Subscriptions by Stripe's status, most first."""
    not_counted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Support:
    """Tickets opened in the window; ``unanswered`` have no reply of ours yet.

    Times from opening to the first reply, in seconds; None where nothing was answered.
    """

    opened: int
    answered: int
    unanswered: int
    oldest_unanswered_seconds: float | None
    per_100_customers: float | None
    median_seconds: float | None
    p95_seconds: float | None


@dataclass(frozen=True, slots=True)
class BurnRate:
    """How fast the error budget goes: 1 uses it up exactly over the objective's period."""

    hours: float
    rate: float | None


@dataclass(frozen=True, slots=True)
class Objective:
    """One thing that was promised, and whether it is held over the window.

    ``target`` and ``measured`` are of ``unit``; ``at_least`` says that more is better
    (availability), otherwise ``measured`` may be at most ``target``. Budgets are counts of what may
    go wrong (requests, probes); ``budget_left`` may be negative. ``budget_minutes`` are the same as
    minutes in which all goes wrong: 43.2 of 30 days at 0.1 %. Objectives of seconds have no budget
    and no burn rate.
    """

    id: str
    title: str
    unit: Unit
    at_least: bool
    target: float
    measured: float | None
    state: ObjectiveState
    reason: str
    budget_total: float | None
    budget_left: float | None
    burn: tuple[BurnRate, ...]
    budget_minutes: float | None = None
    budget_minutes_left: float | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that is wrong now, or was and is ``resolved``.

    ``key`` is the same for the same trouble. ``told`` is when it was last sent to somebody, None
    where nobody could be told; ``unsent`` names channels that failed at the last try.
    """

    key: str
    title: str
    detail: str
    severity: Severity
    state: AlertState
    since: datetime
    told: datetime | None
    unsent: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a plot; None is a gap."""

    at: datetime
    value: float | None


@dataclass(frozen=True, slots=True)
class Series:
    """One plot over the window. Ids: error-rate, availability, p99, events-pending, mrr."""

    id: str
    title: str
    unit: Unit
    points: tuple[Point, ...]


RequestsFound: TypeAlias = Requests | Unknown
AvailabilityFound: TypeAlias = Availability | Unknown
WebhooksFound: TypeAlias = Webhooks | Unknown
DeliveryFound: TypeAlias = StripeDelivery | Unknown
OutboxFound: TypeAlias = Outbox | Unknown
AlarmsFound: TypeAlias = Alarms | Unknown
DriftFound: TypeAlias = Drift | Unknown
LossesFound: TypeAlias = Losses | Unknown
RevenueFound: TypeAlias = Revenue | Unknown
SupportFound: TypeAlias = Support | Unknown


@dataclass(frozen=True, slots=True)
class Picture:
    """The store at ``taken``, over ``window``."""

    taken: datetime
    profile: str
    version: str
    """The store's, "" where it is not known."""
    window: Window
    requests: RequestsFound
    availability: AvailabilityFound
    webhooks: WebhooksFound
    stripe_delivery: DeliveryFound
    outbox: OutboxFound
    alarms: AlarmsFound
    drift: DriftFound
    losses: LossesFound
    revenue: RevenueFound
    support: SupportFound
    objectives: tuple[Objective, ...]
    alerts: tuple[Alert, ...]
    """Firing ones, pages first, then oldest first."""
    history: tuple[Series, ...]
