"""Everything that is kept of one customer, as one document that says what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from shimmy_ops.domain.customers.erasing import PersonFound
from shimmy_ops.domain.customers.facts import BillingRecord

FORMAT, VERSION = "shimmy-customer-export", 1
_WORDS: Mapping[str, str] = {
    "customers": "what the store keeps of the customer",
    "events": "what Stripe told the store; bodies are kept for 30 days",
    "outbox": "mails that were sent or wait",
    "links": "mailed links, without what was mailed",
    "alarms": "what a person had to look at",
}


def export_document(found: PersonFound, profile: str, times: Mapping[str, str]) -> dict[str, Any]:
    """``times``: when each source was read."""
    stripe = {
        member: None if record is None else _billing(record)
        for member, record in found.billing.items()
    }
    keygen = {
        "licences": [dict(one.licence) for one in found.licences],
        "machines": [dict(each) for one in found.licences for each in one.machines],
    }
    store = None if found.ledger is None else dict(found.ledger)
    return {
        "format": FORMAT,
        "version": VERSION,
        "profile": profile,
        "customer": found.customer,
        "merged": [one for one in found.members if one != found.customer],
        "contents": _contents(found, times),
        "store": store,
        "stripe": stripe,
        "keygen": keygen,
    }


def _contents(found: PersonFound, times: Mapping[str, str]) -> list[dict[str, Any]]:
    listed = [
        _line(f"store.tables.{table}", times["store"], len(found.ledger_rows(table)), words)
        for table, words in _WORDS.items()
    ]
    for member, record in found.billing.items():
        if record is None:
            continue
        for one in fields(BillingRecord):
            value = getattr(record, one.name)
            count = len(value) if isinstance(value, tuple) else 1
            listed.append(_line(f"stripe.{member}.{one.name}", times["stripe"], count, "Stripe's"))
    machines = sum(len(one.machines) for one in found.licences)
    listed.append(_line("keygen.licences", times["keygen"], len(found.licences), "with keys"))
    listed.append(_line("keygen.machines", times["keygen"], machines, "activated machines"))
    return listed


def _line(place: str, read: str, count: int, words: str) -> dict[str, Any]:
    return {"section": place, "read": read, "count": count, "what": words}


def _billing(record: BillingRecord) -> dict[str, Any]:
    return {
        one.name: list(value) if isinstance(value := getattr(record, one.name), tuple) else value
        for one in fields(BillingRecord)
    }
