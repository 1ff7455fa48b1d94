"""Panels of how the store does: objectives, alerts, requests, webhooks, mail."""

from __future__ import annotations

from shimmy_ops.domain.monitoring.panel import (
    Cell,
    Fact,
    Mark,
    Panel,
    Table,
    unread,
    waiting,
)
from shimmy_ops.domain.monitoring.picture import (
    Alert,
    Availability,
    EndpointRequests,
    Objective,
    Outbox,
    Picture,
    Requests,
    StripeDelivery,
    Unknown,
    Webhooks,
)
from shimmy_ops.domain.monitoring.wording import (
    NONE,
    age,
    count,
    hours,
    of_unit,
    plain,
    seconds,
    share,
    spread,
)

_BURNS = (1, 6, 72)
_STATES: dict[str, Mark] = {"held": "good", "missed": "bad", "unknown": "unknown"}


def objectives_panel(objectives: tuple[Objective, ...]) -> Panel:
    """One row each: measured, promised, what is left of the budget, how fast it goes."""
    headings = (
        Cell("Objective"), Cell("Measured", number=True), Cell("Promised", number=True),
        Cell("Budget left"), Cell("Burn"),
    )  # fmt: skip
    rows = tuple(_objective_row(one) for one in objectives)
    table = Table("Objectives over the window", headings, rows) if rows else None
    return Panel("objectives", "Objectives", table=table, empty="No objective is measured.")


def _objective_row(one: Objective) -> tuple[Cell, ...]:
    bound = "≥" if one.at_least else "≤"
    reason = plain(one.reason, 80) if one.state == "unknown" else ""
    return (
        Cell(f"{plain(one.title, 40)}: {one.state}", mark=_STATES[one.state]),
        Cell(_measured(one), number=True),
        Cell(f"{bound} {of_unit(one.target, one.unit)}", number=True),
        _budget(one),
        Cell(reason or _burn(one)),
    )


def _measured(one: Objective) -> str:
    return of_unit(one.measured, one.unit)


def _budget(one: Objective) -> Cell:
    """A bar, a share and minutes of it: nothing left and overdrawn differ in words."""
    if one.budget_left is None or one.budget_total is None:
        return Cell(NONE)
    if one.budget_left < 0:
        return Cell("overdrawn", mark="bad", part=0.0)
    if one.budget_total <= 0:
        return Cell(NONE)
    left = min(1.0, one.budget_left / one.budget_total)
    minutes = one.budget_minutes_left
    much = "" if minutes is None else f" {max(0.0, minutes):.1f}min"
    return Cell(share(round(left, 2)) + much, part=left)


def _burn(one: Objective) -> str:
    """Of the windows that alerts are judged by, three say enough."""
    known = [each for each in one.burn if each.rate is not None]
    chosen = [each for each in known if each.hours in _BURNS] or known[:3]
    written = (
        f"{hours(each.hours).replace(' ', '')}:{each.rate:,.1f}\N{MULTIPLICATION SIGN}"
        for each in chosen
    )
    return " ".join(written) or NONE


def alerts_panel(picture: Picture) -> Panel:
    """What fires, for how long, and whether somebody was told."""
    headings = (Cell("Alert"), Cell("For"), Cell("Told"))
    rows = tuple(_alert_row(one, picture) for one in picture.alerts)
    table = Table("Alerts that fire", headings, rows) if rows else None
    return Panel("alerts", "Alerts", table=table, empty="✓ No alert fires.")


def _alert_row(one: Alert, picture: Picture) -> tuple[Cell, ...]:
    told = NONE if one.told is None else f"{age(one.told, picture.taken)} ago"
    if one.unsent:
        told = f"not by {', '.join(plain(each, 30) for each in one.unsent)}"
    elif one.told is None:
        told = "nobody yet"
    state = "resolved" if one.state == "resolved" else one.severity
    detail = f": {plain(one.detail)}" if one.detail else ""
    return (
        Cell(
            f"{state}: {plain(one.title, 80)}{detail}",
            mark="good" if one.state == "resolved" else "bad",
        ),
        Cell(age(one.since, picture.taken)),
        Cell(told, mark="bad" if one.unsent else "none"),
    )


def alarms_panel(picture: Picture) -> Panel:
    """The store's own: what a person should look at."""
    title, found = "Alarms of the store", picture.alarms
    if isinstance(found, Unknown):
        return unread("alarms", title, found)
    headings = (Cell("Alarm"), Cell("Of"), Cell("Raised"))
    rows = tuple(
        (
            Cell(plain(one.code, 60), mark="bad"),
            Cell(plain(one.subject, 60)),
            Cell(f"{age(one.raised, picture.taken)} ago"),
        )
        for one in found.open
    )
    table = Table("Open alarms, oldest first", headings, rows) if rows else None
    return Panel("alarms", title, table=table, empty="✓ No alarm is open.")


def availability_panel(found: Availability | Unknown) -> Panel:
    """Our own probes, and the store's own checks."""
    title = "Availability"
    if isinstance(found, Unknown):
        return unread("availability", title, found)
    checks = tuple(Fact("Failing check", plain(one), "bad") for one in found.failing)
    return Panel(
        "availability",
        title,
        (
            Fact("Now", "up" if found.up_now else "down", "good" if found.up_now else "bad"),
            Fact("Answered in", seconds(found.seconds_now)),
            Fact("In the window", share(found.ratio)),
            Fact("Probes", f"{count(found.up)} of {count(found.probes)} found it up"),
            *checks,
        ),
    )


def requests_panel(found: Requests | Unknown) -> Panel:
    """What customers asked for, then each endpoint, our own probes among them."""
    title = "Requests"
    if isinstance(found, Unknown):
        return unread("requests", title, found)
    headings = (
        Cell("Endpoint"), Cell("Requests", number=True), Cell("Errors", number=True),
        Cell("p50", number=True), Cell("p95", number=True), Cell("p99", number=True),
    )  # fmt: skip
    rows = tuple(_request_row(one) for one in (found.overall, *found.endpoints))
    return Panel("requests", title, table=Table("Requests by endpoint", headings, rows))


def _request_row(one: EndpointRequests) -> tuple[Cell, ...]:
    return (
        Cell(plain(one.endpoint, 40) or "by customers"),
        Cell(count(one.total), number=True),
        Cell(
            f"{count(one.errors)} ({share(one.error_rate)})" if one.errors else "0",
            number=True,
            mark="bad" if one.errors else "none",
        ),
        *(Cell(seconds(value), number=True) for value in (one.p50, one.p95, one.p99)),
    )


def webhooks_panel(found: Webhooks | Unknown) -> Panel:
    """Events from Stripe until the customer has what was paid."""
    title = "Webhooks and settling"
    if isinstance(found, Unknown):
        return unread("webhooks", title, found)
    return Panel(
        "webhooks",
        title,
        (
            Fact("Received", count(found.heard)),
            Fact("Delivered in", spread(found.delivery)),
            Fact("Settled in", spread(found.settling)),
            Fact("Pending", waiting(found.pending, found.oldest_pending_seconds)),
            Fact("Parked", count(found.parked), "bad" if found.parked else "good"),
        ),
    )


def delivery_panel(found: StripeDelivery | Unknown) -> Panel:
    """Webhooks as Stripe sees them."""
    title = "Delivery at Stripe"
    if isinstance(found, Unknown):
        return unread("delivery", title, found)
    oldest = found.oldest_undelivered_seconds
    enabled = found.endpoint == "enabled"
    return Panel(
        "delivery",
        title,
        (
            Fact("Our endpoint", found.endpoint, "good" if enabled else "bad"),
            Fact("Not handed over yet", waiting(found.undelivered, oldest)),
        ),
    )


def mail_panel(found: Outbox | Unknown) -> Panel:
    """The store's outbox."""
    title = "Mail"
    if isinstance(found, Unknown):
        return unread("mail", title, found)
    return Panel(
        "mail",
        title,
        (
            Fact("Sent", count(found.sent)),
            Fact("Sent in", spread(found.sending)),
            Fact("Waiting", waiting(found.waiting, found.oldest_waiting_seconds)),
            Fact("Given up", count(found.parked), "bad" if found.parked else "good"),
        ),
    )
