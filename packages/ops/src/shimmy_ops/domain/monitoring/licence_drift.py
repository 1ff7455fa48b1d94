"""Who pays at Stripe against who has a licence at Keygen.

By Stripe's customer id, which the store writes into a licence's metadata. What may rightly be
either way is neither: a renewal that is late, an invoice still open, money that went back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from shimmy_ops.domain.monitoring.accounts import HeldLicence, Money, Sale, Subscription
from shimmy_ops.domain.monitoring.picture import Drift, Mismatch

_PAYING, _MAYBE = ("active", "trialing"), ("past_due", "paused", "unpaid", "incomplete")


def compare_accounts(
    money: Money, licences: Sequence[HeldLicence], merged: Mapping[str, str] | None = None
) -> Drift:
    """``merged`` leads from customers to whom the store merged them into."""
    into = merged or {}
    must, may = set[str](), set[str]()
    for customer, sure in _payers(money):
        (must if sure else may).add(into.get(customer, customer))
    usable = [one for one in licences if one.usable and not one.given]
    held: dict[str, list[HeldLicence]] = {}
    for one in usable:
        held.setdefault(into.get(one.customer, one.customer), []).append(one)
    return Drift(len(must), len(usable), tuple(_mismatches(must, may, held)))


def _mismatches(
    must: set[str], may: set[str], held: Mapping[str, Sequence[HeldLicence]]
) -> Iterator[Mismatch]:
    for customer in sorted(must - held.keys()):
        yield Mismatch("paid-without-licence", customer)
    for customer, licences in sorted(held.items()):
        if not customer or customer not in must | may:
            yield from (Mismatch("licence-without-payment", one.id) for one in licences)
        elif len(licences) > 1:
            yield Mismatch("several-licences", customer)


def mismatched_customers(drift: Drift, licences: Iterable[HeldLicence]) -> tuple[str, ...]:
    """Customers worth asking the store about: it may have merged them."""
    owners = {one.id: one.customer for one in licences}
    found = (owners.get(one.subject, one.subject) for one in drift.mismatches)
    return tuple(sorted({one for one in found if one}))


def _payers(money: Money) -> Iterator[tuple[str, bool]]:
    everything: tuple[Subscription | Sale, ...] = (*money.subscriptions, *money.sales)
    for one in everything:
        sure = _pays(one)
        if sure is not None:
            yield one.customer, sure


def _pays(one: Subscription | Sale) -> bool | None:
    """True: has to have a licence; False: may; None: has paid for nothing that lasts."""
    if isinstance(one, Sale):
        return {"no": True, "partly": True, "wholly": None}[one.gone]
    if one.status in _PAYING:
        return one.paid and one.gone != "wholly"
    return False if one.status in _MAYBE else None
