"""Everybody whom support may mean, with all that is known of them and what to do next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from shimmy_ops.domain.customers.advice import Advice, advise
from shimmy_ops.domain.customers.facts import (
    CustomerFacts,
    Document,
    HeldLicence,
    addresses_of,
    read_billing_facts,
    read_licence_facts,
    read_store_facts,
)
from shimmy_ops.domain.customers.key_masks import KeyMask
from shimmy_ops.domain.customers.sought import Sought, SoughtAddress, SoughtId, SoughtKey
from shimmy_ops.errors import CustomerError
from shimmy_ops.use_cases.find_candidates import Sources, find_candidates


@dataclass(frozen=True, slots=True)
class LookedUp:
    """One customer, or a licence that names none; ``healed`` is what settling came to."""

    facts: CustomerFacts
    advice: tuple[Advice, ...]
    healed: str = ""


def lookup_customer(
    sought: Sought,
    sources: Sources,
    store_url: str,
    now: datetime,
    *,
    heal: bool = False,
    told: Callable[[int], None] = lambda _: None,
) -> tuple[LookedUp, ...]:
    """``told`` hears how many licences were read, where a key is looked for. Raises OpsError.

    CustomerError where nobody is found. ``heal`` has the store settle each customer first.
    """
    customers, orphans = _find(sought, sources, told)
    if not customers and not orphans:
        raise CustomerError(
            "customer-unknown",
            "Nobody is found by that.",
            hint="Try the address, or another part of the key: letters are easily misread.",
        )
    found = []
    for customer in customers:
        healed = sources.desk.look(customer) if heal else ""
        facts = _facts(customer, sources, now)
        found.append(LookedUp(facts, advise(facts, store_url), healed))
    for held in orphans:
        licence = read_licence_facts(held, now)
        facts = CustomerFacts("", (), None, None, (licence,))
        found.append(LookedUp(facts, advise(facts, store_url)))
    return tuple(found)


def _find(
    sought: Sought, sources: Sources, told: Callable[[int], None]
) -> tuple[tuple[str, ...], tuple[HeldLicence, ...]]:
    match sought:
        case SoughtAddress(email=email):
            return find_candidates(email, sources), ()
        case SoughtKey(mask=mask):
            return _owners(_with_key(mask, sources, told))
        case SoughtId():
            return _by_id(sought, sources)
        case _:
            assert_never(sought)


def _by_id(sought: SoughtId, sources: Sources) -> tuple[tuple[str, ...], tuple[HeldLicence, ...]]:
    match sought.kind:
        case "customer":
            return _known(sought.id, sources), ()
        case "session":
            owner = sources.billing.customer_of_session(sought.id)
        case "subscription":
            owner = sources.billing.customer_of_subscription(sought.id)
        case "licence":
            held = sources.licensing.find(sought.id)
            return _owners(() if held is None else (held,))
        case _:
            assert_never(sought.kind)
    return ((owner,) if owner else ()), ()


def _known(customer: str, sources: Sources) -> tuple[str, ...]:
    anywhere = sources.desk.find_customers(customer=customer) or sources.billing.read(customer)
    return (customer,) if anywhere or sources.licensing.licences_of(customer) else ()


def _with_key(
    mask: KeyMask, sources: Sources, told: Callable[[int], None]
) -> tuple[HeldLicence, ...]:
    found: list[Document] = []
    count = 0
    for page in sources.licensing.licences():
        found += [one for one in page if mask.matches(str(one["key"]))]
        count += len(page)
        told(count)
    return tuple(HeldLicence(one, sources.licensing.machines(str(one["id"]))) for one in found)


def _owners(
    found: Sequence[HeldLicence],
) -> tuple[tuple[str, ...], tuple[HeldLicence, ...]]:
    named = dict.fromkeys(one.customer for one in found if one.customer)
    return tuple(named), tuple(one for one in found if not one.customer)


def _facts(customer: str, sources: Sources, now: datetime) -> CustomerFacts:
    records = sources.desk.find_customers(customer=customer)
    billing = sources.billing.read(customer)
    licences = sources.licensing.licences_of(customer)
    addresses = addresses_of(records, billing)
    return CustomerFacts(
        customer,
        addresses,
        read_store_facts(records[0]) if records else None,
        None if billing is None else read_billing_facts(billing),
        tuple(read_licence_facts(one, now) for one in licences),
        _merged(customer, addresses, sources),
    )


def _merged(customer: str, addresses: Sequence[str], sources: Sources) -> tuple[str, ...]:
    """Whom the store made part of this one: they shared an address then."""
    found = [one for email in addresses for one in sources.desk.find_customers(email=email)]
    mine = (str(one["customer"]) for one in found if one["merged_into"] == customer)
    return tuple(dict.fromkeys(mine))
