"""Read Stripe and Keygen, each by itself, and compare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from shimmy_ops.domain.monitoring.accounts import HeldLicence, Money
from shimmy_ops.domain.monitoring.licence_drift import compare_accounts, mismatched_customers
from shimmy_ops.domain.monitoring.picture import Drift, DriftFound, Unknown
from shimmy_ops.errors import OpsError
from shimmy_ops.ports.monitoring import Sources
from shimmy_ops.ports.store_desk import StoreDesk

# Of so many the store is asked whether it merged them; more than these are no merges.
_MOST_ASKED = 20


@dataclass(frozen=True, slots=True)
class BooksRead:
    """What both accounts had at ``read``."""

    read: datetime
    money: Money | Unknown
    drift: DriftFound


def read_books(sources: Sources) -> BooksRead:
    """Neither that is down blanks the other; what is compared needs both."""
    now = sources.now()
    money = _money(sources)
    licences = _licences(sources, now)
    if isinstance(money, Unknown):
        return BooksRead(now, money, money)
    if isinstance(licences, Unknown):
        return BooksRead(now, money, licences)
    return BooksRead(now, money, _compared(sources, money, licences))


def _money(sources: Sources) -> Money | Unknown:
    try:
        with sources.money() as books:
            return books.money()
    except OpsError as error:
        return Unknown(f"{error.message} [{error.code}]")


def _licences(sources: Sources, now: datetime) -> Sequence[HeldLicence] | Unknown:
    try:
        with sources.licences() as books:
            return books.licences(now)
    except OpsError as error:
        return Unknown(f"{error.message} [{error.code}]")


def _compared(sources: Sources, money: Money, licences: Sequence[HeldLicence]) -> Drift:
    found = compare_accounts(money, licences)
    asked = mismatched_customers(found, licences)
    if not 0 < len(asked) <= _MOST_ASKED:
        return found
    try:
        with sources.desk() as desk:
            merged = _merged(desk, asked)
    except OpsError:
        return found
    return compare_accounts(money, licences, merged)


def _merged(desk: StoreDesk, customers: Sequence[str]) -> Mapping[str, str]:
    merged = {}
    for customer in customers:
        for one in desk.find_customers(customer=customer):
            if one.get("merged_into"):
                merged[str(one["customer"])] = str(one["merged_into"])
    return merged
