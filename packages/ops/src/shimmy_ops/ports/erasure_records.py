"""What is noted of customers who were erased: ids and digests, nothing that names a person."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from shimmy_ops.domain.customers.receipts import ErasureReceipt


class ErasureRecords(Protocol):
    """Every method raises KeepingError."""

    def alone(self) -> AbstractContextManager[None]:
        """Within, no other process erases: two would write one receipt at once."""

    def read(self) -> tuple[ErasureReceipt, ...]:
        """All that were begun."""

    def keep(self, receipt: ErasureReceipt) -> None:
        """In place of one of the same customer; durable once this returns."""
