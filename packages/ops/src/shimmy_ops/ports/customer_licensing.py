"""Keygen, as far as customers' licences are concerned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from shimmy_ops.domain.customers.facts import Document, HeldLicence


class CustomerLicensing(Protocol):
    """Every method raises LicensingError."""

    def licences_of(self, customer: str) -> tuple[HeldLicence, ...]:
        """Those whose metadata name this customer of Stripe's."""

    def find(self, licence: str) -> HeldLicence | None:
        """By its id."""

    def licences(self) -> Iterator[Sequence[Document]]:
        """All of the account, some at a time, without machines."""

    def machines(self, licence: str) -> tuple[Document, ...]:
        """Of one licence."""

    def suspend(self, licence: str) -> None:
        """Also if it is suspended already."""

    def remove_machine(self, machine: str) -> None:
        """Also if it is gone already."""

    def describe(self, licence: str, metadata: Mapping[str, Any]) -> None:
        """No name, and these metadata alone."""
