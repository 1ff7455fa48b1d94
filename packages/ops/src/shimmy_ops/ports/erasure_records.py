"""What is noted of customers who were erased: ids and digests, nothing that names a person."""

from __future__ import annotations

from typing import Protocol

from shimmy_ops.domain.customers.receipts import ErasureReceipt


class ErasureRecords(Protocol):
    """Every method raises KeepingError."""

    def read(self) -> tuple[ErasureReceipt, ...]:
        """All that were begun."""

    def keep(self, receipt: ErasureReceipt) -> None:
        """In place of one of the same customer; durable once this returns."""
