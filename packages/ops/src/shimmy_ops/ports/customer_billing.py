"""Stripe, as far as one customer is concerned."""

from __future__ import annotations

from typing import Protocol

from shimmy_ops.domain.customers.facts import BillingRecord


class CustomerBilling(Protocol):
    """Every method raises BillingError."""

    def customer_of_session(self, session: str) -> str | None:
        """Whose checkout it was; None where there is no such, or nobody's yet."""

    def customer_of_subscription(self, subscription: str) -> str | None:
        """Whose it is; None where there is no such."""

    def customers_with(self, email: str) -> tuple[str, ...]:
        """Those of exactly this address or of it in small letters; not those that were deleted."""

    def read(self, customer: str) -> BillingRecord | None:
        """All of one customer; None where there never was one."""

    def end_subscription(self, subscription: str) -> None:
        """At once, nothing credited; also if it has ended already."""

    def delete_customer(self, customer: str) -> None:
        """Address, name and cards are gone; also if they were already."""
