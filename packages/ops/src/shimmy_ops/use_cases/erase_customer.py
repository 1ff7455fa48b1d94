"""Forget one customer everywhere, and see that nothing is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

from shimmy_ops.domain.customers.erasing import (
    EraseStep,
    PersonFound,
    billed,
    plan_erasure,
    refuse_running,
)
from shimmy_ops.domain.customers.receipts import ErasureReceipt, address_digest, find_open
from shimmy_ops.domain.customers.sought import SoughtAddress, SoughtId
from shimmy_ops.errors import CustomerError
from shimmy_ops.ports.erasure_records import ErasureRecords
from shimmy_ops.use_cases.find_candidates import Sources
from shimmy_ops.use_cases.find_person import find_person

_PASSES = 3


@dataclass(frozen=True, slots=True)
class EraseOrder:
    """``agreed`` is asked with what was found before anything is changed; it may raise.

    ``told`` hears of each step that was taken; ``fresh`` makes what nobody can guess.
    """

    person: SoughtId | SoughtAddress
    profile: str
    end_subscriptions: bool
    agreed: Callable[[PersonFound], None]
    told: Callable[[EraseStep], None]
    now: Callable[[], datetime]
    fresh: Callable[[], str]


def erase_customer(order: EraseOrder, sources: Sources, records: ErasureRecords) -> ErasureReceipt:
    """The receipt. May be cut off anywhere: the same order again goes on. Raises OpsError.

    CustomerError where nobody agreed, where something still runs, or where something is left after
    three passes: then somebody else writes at the same time.
    """
    earlier = records.read()
    found = find_person(_person(order.person, earlier), sources)
    begun = next((one for one in earlier if one.customer == found.customer), None)
    if begun is not None and begun.finished:
        if not plan_erasure(found):
            return begun
        begun = None
    # Also where it was begun: something new may have been bought since.
    if not order.end_subscriptions:
        refuse_running(found, order.now())
    order.agreed(found)
    receipt = begun or _begin(order, found)
    records.keep(receipt)
    addresses = found.addresses
    for _ in range(_PASSES):
        left = plan_erasure(found, addresses)
        for step in left:
            _take(step, sources)
            receipt = replace(receipt, steps=(*receipt.steps, f"{step.kind} {step.id}"))
            records.keep(receipt)
            order.told(step)
        if not left:
            break
        found = find_person(SoughtId("customer", found.customer), sources)
        addresses |= found.addresses
    _refuse_left(plan_erasure(found, addresses))
    done = order.now().isoformat()
    receipt = replace(receipt, finished=done, stays=billed(found), salt="", address="")
    records.keep(receipt)
    return receipt


def _person(
    person: SoughtId | SoughtAddress, receipts: tuple[ErasureReceipt, ...]
) -> SoughtId | SoughtAddress:
    """By address nobody is found any more who is half erased: the open receipt knows."""
    if isinstance(person, SoughtId):
        return person
    known = find_open(receipts, person.email)
    return SoughtId("customer", known) if known else person


def _begin(order: EraseOrder, found: PersonFound) -> ErasureReceipt:
    begun = order.now().isoformat()
    fresh = ErasureReceipt(found.customer, found.members, order.profile, begun)
    if isinstance(order.person, SoughtId):
        return fresh
    salt = order.fresh()
    return replace(fresh, salt=salt, address=address_digest(salt, order.person.email))


def _take(step: EraseStep, sources: Sources) -> None:
    match step.kind:
        case "end-subscription":
            sources.billing.end_subscription(step.id)
        case "suspend-licence":
            sources.licensing.suspend(step.id)
        case "remove-machine":
            sources.licensing.remove_machine(step.id)
        case "blank-licence":
            sources.licensing.describe(step.id, step.kept or {})
        case "delete-customer":
            sources.billing.delete_customer(step.id)
        case "erase-ledger":
            sources.desk.erase(step.id)
        case _:
            assert_never(step.kind)


def _refuse_left(left: list[EraseStep]) -> None:
    if not left:
        return
    names = ", ".join(f"{one.kind} {one.id}" for one in left)
    raise CustomerError(
        "erasure-unsettled",
        f"After {_PASSES} passes something is still there: {names}.",
        hint="Somebody or something may be writing at the same time. Run it again.",
        retryable=True,
    )
