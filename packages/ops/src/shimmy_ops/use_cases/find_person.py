"""One person by id or address, with everyone whom the store merged into them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from shimmy_ops.domain.customers.erasing import PersonFound
from shimmy_ops.domain.customers.facts import Document
from shimmy_ops.domain.customers.sought import SoughtAddress, SoughtId
from shimmy_ops.errors import CustomerError, DeskError
from shimmy_ops.ports.store_desk import StoreDesk
from shimmy_ops.use_cases.find_candidates import Sources, find_candidates


def find_person(
    person: SoughtId | SoughtAddress,
    sources: Sources,
    told: Callable[[str], None] = lambda _: None,
) -> PersonFound:
    """Reads all three sources; ``told`` hears which one is read next. Raises OpsError.

    CustomerError where there is nobody, where an address is several customers', or where the store
    made the customer part of another one.
    """
    customer = person.id if isinstance(person, SoughtId) else _by_address(person.email, sources)
    _refuse_merged(sources.desk.find_customers(customer=customer))
    told("store")
    ledger = _ledger(customer, sources.desk)
    rows = () if ledger is None else ledger["tables"]["customers"]
    members = tuple(dict.fromkeys([customer, *(str(one["customer"]) for one in rows)]))
    told("stripe")
    billing = {one: sources.billing.read(one) for one in members}
    told("keygen")
    licences = tuple(held for one in members for held in sources.licensing.licences_of(one))
    found = PersonFound(customer, members, ledger, billing, licences)
    if not found.known:
        raise CustomerError(
            "customer-unknown", "Neither store, Stripe nor Keygen has this customer."
        )
    return found


def _by_address(email: str, sources: Sources) -> str:
    found = find_candidates(email, sources)
    roots = _roots(found, sources)
    if not roots:
        raise CustomerError(
            "customer-unknown",
            "Nobody with this address is kept at the store or at Stripe.",
            hint="`shimmy-ops support lookup` also finds by key, session and subscription.",
        )
    if len(roots) > 1:
        raise CustomerError(
            "customer-ambiguous",
            f"The address is that of several customers: {', '.join(roots)}.",
            hint="Anybody can pay with anybody's address. Ask which purchase it is, and give its "
            "customer's id.",
        )
    return roots[0]


def _roots(found: Iterable[str], sources: Sources) -> tuple[str, ...]:
    """Those who are merged into one another are one."""
    return tuple(dict.fromkeys(_root(one, sources) for one in found))


def _root(customer: str, sources: Sources) -> str:
    merged = [one["merged_into"] for one in sources.desk.find_customers(customer=customer)]
    return str(merged[0]) if merged and merged[0] else customer


def _refuse_merged(records: Iterable[Document]) -> None:
    for one in records:
        if one["merged_into"]:
            raise CustomerError(
                "customer-merged",
                f"The store made one customer of this one and {one['merged_into']}.",
                hint=f"Give {one['merged_into']}: what was merged into it goes with it.",
            )


def _ledger(customer: str, desk: StoreDesk) -> Document | None:
    try:
        return desk.export(customer)
    except DeskError as error:
        if error.code == "desk-no-such-customer":
            return None
        raise
