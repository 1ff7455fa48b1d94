"""What a live transaction touches: checkout, licences, a customer's machine, whoever pays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from shimmy_ops.domain.transaction.receipt import Receipt, StepRecord
from shimmy_ops.domain.transaction.sightings import (
    Remains,
    SeenCharge,
    SeenEvent,
    SeenLicence,
    SeenRefund,
    SeenSession,
    SeenSubscription,
    Terms,
)
from shimmy_ops.ports.store_desk import StoreDesk


class Till(Protocol):
    """Stripe, as far as one customer goes. Every method raises BillingError."""

    def session(self, session: str) -> SeenSession:
        """A checkout session as it is now."""

    def expire(self, session: str) -> None:
        """Nobody can pay it any more; refused where somebody has."""

    def charges(self, customer: str) -> Sequence[SeenCharge]:
        """All of this customer's."""

    def subscription(self, subscription: str) -> SeenSubscription:
        """As it is now, also when it has ended."""

    def completion(self, session: SeenSession) -> SeenEvent | None:
        """The event that tells of the session's payment."""

    def undelivered(self, customer: str, since: datetime) -> int:
        """Events about this customer that still have a delivery pending."""

    def refunds(self, charge: str) -> Sequence[SeenRefund]:
        """What went back of it, or was tried."""

    def refund(self, charge: str, attempt: int) -> None:
        """All that is left of it. The same ``attempt`` happens once in 24 hours."""

    def end(self, subscription: str) -> None:
        """At once, without a credit; one that has ended stays ended."""

    def remains(self, customer: str) -> Remains:
        """What is still running, owed or credited."""

    def open_portal(self, customer: str) -> str:
        """The address of a portal session with the store's configuration; it lets in whoever
        has it."""


class IssuedLicences(Protocol):
    """Keygen, as far as one customer goes. Every method raises LicensingError."""

    def of_customer(self, customer: str) -> Sequence[SeenLicence]:
        """Every licence that the store made for this customer of Stripe's."""

    def free(self, machine: str) -> None:
        """Take a machine off its licence."""


class Storefront(Protocol):
    """The store's and Stripe's pages, as a browser gets them. Raises DeskError."""

    def begin_checkout(self, plan: str) -> str:
        """Where the store sends somebody new who wants this plan."""

    def status(self, url: str) -> int:
        """What a page answers with."""


class Payer(Protocol):
    """Whoever fills in the checkout page."""

    def ask(self, session: SeenSession) -> None:
        """Have it paid; asked again, it does nothing. Raises TransactionError for a refusal."""


class CustomerMachine(Protocol):
    """A machine of a customer's with the product on it. Every method raises TransactionError."""

    def check(self, *, analysis: bool) -> None:
        """That the program is there and accepts this profile's licences, before anybody pays.

        With ``analysis`` also that a model is.
        """

    def activate(self, key: str) -> None:
        """Use a licence here; twice is once."""

    def analyse(self) -> Mapping[str, Any]:
        """The result of one picture."""

    def deactivate(self, key: str) -> None:
        """Give the machine's place back."""

    def confirm(self, key: str) -> str:
        """Ask the licence server now: the code of its refusal, empty where it lets on."""

    def remove(self) -> None:
        """Everything that was kept here; twice is once."""


class Receipts(Protocol):
    """Where receipts are kept. Every method raises TransactionError, KeepingError."""

    def alone(self) -> AbstractContextManager[None]:
        """Within, no other process works on a transaction of this profile."""

    def listed(self) -> Sequence[Receipt]:
        """All, oldest first."""

    def save(self, receipt: Receipt) -> None:
        """On the disk when this returns, whole."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: how long somebody may take to pay, how long we wait for anything else, how often
    we look."""

    payment: float
    step: float
    between: float


@dataclass(frozen=True, slots=True)
class Journey:
    """Everything that a transaction goes through. ``mailbox`` is the operator's own, or empty.

    ``told`` hears of every change of a step, and of every look while it waits.
    """

    terms: Terms
    till: Till
    licences: IssuedLicences
    front: Storefront
    desk: StoreDesk
    payer: Payer
    machine: CustomerMachine
    receipts: Receipts
    patience: Patience
    now: Callable[[], datetime]
    rest: Callable[[float], None]
    told: Callable[[StepRecord], None]
    mailbox: str = ""
    analysis: bool = True
