"""Forgetting one customer: decided from what is there now, so that it may be cut off anywhere.

Access and money end first, then what names the person goes, the ledger last: it says who was merged
with whom until then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from shimmy_ops.domain.customers.facts import ENDED, BillingRecord, Document, HeldLicence
from shimmy_ops.errors import CustomerError

StepKind: TypeAlias = Literal[
    "end-subscription",
    "suspend-licence",
    "remove-machine",
    "blank-licence",
    "delete-customer",
    "erase-ledger",
]
# What the store writes into a licence: ids, months and a plan. Everything else may name a person.
_KEPT_METADATA = frozenset(
    {
        "plan",
        "customer",
        "source",
        "offlineGraceHours",
        "pagesPeriodStart",
        "pagesPeriodEnd",
        "pagesResetAt",
        "pagesResetFor",
    }
)
TOLD: Mapping[StepKind, str] = {
    "end-subscription": "ends subscription {id} at once, without a refund",
    "suspend-licence": "suspends licence {id}",
    "remove-machine": "removes machine {id} with its name and fingerprint",
    "blank-licence": "takes name and notes from licence {id}",
    "delete-customer": "deletes customer {id} at Stripe with address, name and cards",
    "erase-ledger": "erases customer {id} from the store: address, mails, links, bodies of events",
}
STAYS = (
    "Invoices, charges, refunds and checkouts stay at Stripe with what was written on them: tax "
    "law asks for them. When it no longer does, Stripe's redaction jobs remove them.",
    "The store keeps the customer's id with the time of erasing, and events without their bodies, "
    "so that what Stripe still sends brings nothing back.",
    "Keygen keeps the suspended licence with its key and the ids of customer and purchase, so that "
    "it cannot be used or made again.",
    "Backups made before hold the person until they are pruned (`backup make --keep`).",
)


@dataclass(frozen=True, slots=True)
class EraseStep:
    """One write; ``kept`` is the metadata that stays, where a licence is blanked."""

    kind: StepKind
    id: str
    kept: Mapping[str, Any] | None = None

    @property
    def told(self) -> str:
        """In words."""
        return TOLD[self.kind].format(id=self.id)


@dataclass(frozen=True, slots=True)
class PersonFound:
    """All that is kept of one person now.

    ``customer``  under whom the store keeps them
    ``members``   that one and all that were merged into it
    ``ledger``    the store's export, None where it knows nothing
    ``billing``   by member, None where Stripe never had it
    """

    customer: str
    members: tuple[str, ...]
    ledger: Document | None
    billing: Mapping[str, BillingRecord | None]
    licences: tuple[HeldLicence, ...]

    @property
    def known(self) -> bool:
        """Whether anything is kept anywhere."""
        at_stripe = any(one is not None for one in self.billing.values())
        return self.ledger is not None or bool(self.licences) or at_stripe

    @property
    def addresses(self) -> frozenset[str]:
        """As they were written."""
        rows = self.ledger_rows("customers")
        found = {str(one.get("email") or "") for one in rows}
        found |= {str(one.customer.get("email") or "") for one in self.billing.values() if one}
        return frozenset(found - {""})

    def ledger_rows(self, table: str) -> Sequence[Document]:
        """Of the store's export."""
        found = ((self.ledger or {}).get("tables") or {}).get(table) or ()
        return tuple(found)


def refuse_running(found: PersonFound, now: datetime) -> None:
    """Raises CustomerError where something still runs that was paid for."""
    running = [one.id for one in found.licences if one.gives_access(now)]
    for record in found.billing.values():
        subscriptions = record.subscriptions if record is not None else ()
        running += [one["id"] for one in subscriptions if one["status"] not in ENDED]
    if running:
        raise CustomerError(
            "customer-still-served",
            f"The customer still has what they pay or paid for: {', '.join(running)}.",
            hint="--end-subscriptions ends it at once, without a refund. Or let it run out first.",
        )


def plan_erasure(found: PersonFound, addresses: frozenset[str] = frozenset()) -> list[EraseStep]:
    """What is left to do; nothing where the person is forgotten.

    ``addresses`` are those that were known before: none may be left at the store.
    """
    return [
        *_endings(found),
        *_licences(found),
        *_deletions(found),
        *_ledger(found, addresses),
    ]


def _endings(found: PersonFound) -> Iterator[EraseStep]:
    for member in found.members:
        record = found.billing.get(member)
        for one in record.subscriptions if record is not None else ():
            if one["status"] not in ENDED:
                yield EraseStep("end-subscription", one["id"])


def _licences(found: PersonFound) -> Iterator[EraseStep]:
    for held in found.licences:
        if not held.licence["suspended"]:
            yield EraseStep("suspend-licence", held.id)
        for machine in held.machines:
            yield EraseStep("remove-machine", machine["id"])
        metadata = held.licence.get("metadata") or {}
        kept = {name: value for name, value in metadata.items() if name in _KEPT_METADATA}
        if held.licence.get("name") or kept != metadata:
            yield EraseStep("blank-licence", held.id, kept)


def _deletions(found: PersonFound) -> Iterator[EraseStep]:
    for member in found.members:
        record = found.billing.get(member)
        if record is not None and not record.deleted:
            yield EraseStep("delete-customer", member)


def _ledger(found: PersonFound, addresses: frozenset[str]) -> Iterator[EraseStep]:
    if found.ledger is None:
        return
    rows = found.ledger_rows("customers")
    whole = bool(rows) and all(one.get("erased") and not one.get("email") for one in rows)
    if not whole or _names_one_of(found.ledger, addresses):
        yield EraseStep("erase-ledger", found.customer)


def _names_one_of(ledger: Document, addresses: frozenset[str]) -> bool:
    text = json.dumps(ledger.get("tables"), ensure_ascii=False, default=str).casefold()
    return any(one.casefold() in text for one in addresses)


def left_by_hand(found: PersonFound) -> list[str]:
    """What names the person and was made by hand: the store makes no users at Keygen."""
    owners = dict.fromkeys(
        str(one.licence["owner"]) for one in found.licences if "owner" in one.licence
    )
    return [f"Keygen has a user {one}, made by hand: delete it there by hand." for one in owners]


def billed(found: PersonFound) -> dict[str, int]:
    """How many of Stripe's documents stay, by kind."""
    records = [one for one in found.billing.values() if one is not None]
    return {
        "invoices": sum(len(one.invoices) for one in records),
        "charges": sum(len(one.charges) for one in records),
        "refunds": sum(len(one.refunds) for one in records),
        "checkouts": sum(len(one.sessions) for one in records),
    }
