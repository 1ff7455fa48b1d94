"""Panels of what is paid and owed: licences, revenue, refunds, support."""

from __future__ import annotations

from shimmy_ops.domain.monitoring.panel import (
    Cell,
    Fact,
    Panel,
    Table,
    unread,
    waiting,
)
from shimmy_ops.domain.monitoring.picture import (
    Drift,
    Losses,
    Revenue,
    Support,
    TierRevenue,
    Unknown,
)
from shimmy_ops.domain.monitoring.wording import (
    NONE,
    count,
    money,
    plain,
    seconds,
    share,
)

_DRIFTS = {
    "paid-without-licence": "paid, no licence",
    "several-licences": "several licences",
    "licence-without-payment": "licence, not paid",
}


def drift_panel(found: Drift | Unknown) -> Panel:
    """Stripe and Keygen compared."""
    title = "Licences against payments"
    if isinstance(found, Unknown):
        return unread("drift", title, found)
    amiss = len(found.mismatches)
    facts = (
        Fact("Paying customers", count(found.paying)),
        Fact("Usable licences", count(found.usable)),
        Fact("Not as paid", count(amiss), "bad" if amiss else "good"),
    )
    rows = tuple(
        (Cell(_DRIFTS[one.kind], mark="bad"), Cell(plain(one.subject, 60)))
        for one in found.mismatches
    )
    table = Table("What is not as it was paid", (Cell("What"), Cell("Of")), rows) if rows else None
    return Panel("drift", title, facts, table)


def revenue_panel(found: Revenue | Unknown) -> Panel:
    """A month's money, by tier."""
    title = "Revenue"
    if isinstance(found, Unknown):
        return unread("revenue", title, found)
    once = money(found.lifetime_amount, found.currency)
    failed = found.invoices_failed
    facts = (
        Fact("A month (MRR)", money(found.mrr, found.currency)),
        Fact("Subscriptions", f"{count(found.active)} (+{found.new} -{found.cancelled})"),
        Fact("Churn", share(found.churn)),
        Fact("Sold once", f"{count(found.lifetime_sales)}, {once}"),
        Fact("Invoices open", count(found.invoices_open)),
        Fact("Invoices failed", count(failed), "bad" if failed else "good"),
        *(Fact(f"Status {plain(name, 30)}", count(n)) for name, n in found.statuses),
        *(Fact("Not counted", plain(one)) for one in found.not_counted),
    )
    headings = (
        Cell("Tier"), Cell("Active", number=True), Cell("A month", number=True),
        Cell("New", number=True), Cell("Ended", number=True), Cell("Sold once", number=True),
    )  # fmt: skip
    rows = tuple(_tier_row(one, found.currency) for one in found.tiers)
    table = Table("Revenue by tier", headings, rows) if rows else None
    return Panel("revenue", title, facts, table)


def _tier_row(one: TierRevenue, currency: str) -> tuple[Cell, ...]:
    once = f"{count(one.sold_once)}, {money(one.sold_once_amount, currency)}"
    return (
        Cell(plain(one.name or one.plan, 40)),
        Cell(count(one.active), number=True),
        Cell(money(one.mrr, currency), number=True),
        Cell(count(one.new), number=True),
        Cell(count(one.cancelled), number=True),
        Cell(once if one.sold_once else "0", number=True),
    )


def losses_panel(found: Losses | Unknown) -> Panel:
    """Refunds and disputes."""
    title = "Refunds and disputes"
    if isinstance(found, Unknown):
        return unread("losses", title, found)
    refunded = money(found.refunded, found.currency)
    disputed = money(found.disputed, found.currency)
    still = found.open_disputes
    return Panel(
        "losses",
        title,
        (
            Fact("Refunds", f"{count(found.refunds)}, {refunded}" if found.refunds else "0"),
            Fact("Disputes", f"{count(found.disputes)}, {disputed}" if found.disputes else "0"),
            Fact("Disputes open", count(still), "bad" if still else "good"),
            *(Fact("Not counted", plain(one)) for one in found.not_counted),
        ),
    )


def support_panel(found: Support | Unknown) -> Panel:
    """Tickets, and how long they wait."""
    title = "Support"
    if isinstance(found, Unknown):
        return unread("support", title, found)
    per_hundred = found.per_100_customers
    first = NONE
    if found.median_seconds is not None:
        first = f"{seconds(found.median_seconds)}, p95 {seconds(found.p95_seconds)}"
    return Panel(
        "support",
        title,
        (
            Fact("Opened", count(found.opened)),
            Fact("Per 100 customers", NONE if per_hundred is None else f"{per_hundred:,.1f}"),
            Fact("First reply in", first),
            Fact("Unanswered", waiting(found.unanswered, found.oldest_unanswered_seconds)),
        ),
    )
