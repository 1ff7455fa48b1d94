"""Every error this distribution raises on purpose.

StoreError
├── CatalogError     contracts/plans.json contradicts itself
├── LedgerError      what the store remembers cannot be read or written
├── PaymentsError    Stripe cannot be heard, refuses, or says what makes no sense
└── LicensingError   Keygen cannot be heard, refuses, or has what it should not
"""

from __future__ import annotations


class StoreError(Exception):
    """Base of the tree; ``code`` is stable, ``hint`` says what to do."""

    def __init__(self, code: str, message: str, *, hint: str = "", retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.retryable = retryable


class CatalogError(StoreError):
    """The catalog of plans cannot be used."""


class LicensingError(StoreError):
    """Keygen cannot be heard, refuses, or has what it should not."""


class LedgerError(StoreError):
    """What the store remembers cannot be read or written."""


class PaymentsError(StoreError):
    """Stripe cannot be heard, refuses, or says what makes no sense."""
