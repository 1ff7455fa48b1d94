"""Every error this distribution raises on purpose.

StoreError
├── CatalogError     a contract of ours (plans, events) contradicts itself or is missing
├── LedgerError      what the store remembers cannot be read or written
├── DumpError        a dump of the ledger is damaged, or is not for this ledger
├── PaymentsError    Stripe cannot be heard, refuses, or says what makes no sense
├── LicensingError   Keygen cannot be heard, refuses, or has what it should not
├── MailError        a mail cannot be handed over
├── SettingsError    the environment does not say how to run
├── SiteError        the static site cannot be built or read
└── VisitError       what a visitor asks cannot be done
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


class DumpError(StoreError):
    """A dump of the ledger is damaged, or is not for this ledger."""


class PaymentsError(StoreError):
    """Stripe cannot be heard, refuses, or says what makes no sense."""


class MailError(StoreError):
    """A mail cannot be handed over."""


class SettingsError(StoreError):
    """The environment does not say how to run."""


class SiteError(StoreError):
    """The static site cannot be built or read."""


class VisitError(StoreError):
    """What a visitor asks cannot be done; the message is for them.

    ``retry_after`` is in seconds, 0 where waiting does not help.
    """

    def __init__(self, code: str, message: str, *, hint: str = "", retry_after: int = 0) -> None:
        super().__init__(code, message, hint=hint, retryable=retry_after > 0)
        self.retry_after = retry_after
