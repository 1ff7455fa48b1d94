"""Every error this distribution raises on purpose.

OpsError
├── ProfileError     the profile, or a secret it needs, does not say what to work on
├── ContractError    contracts/*.json are missing or say what makes no sense
├── BillingError     Stripe cannot be heard, refuses, or says what makes no sense
├── LicensingError   Keygen cannot be heard, refuses, or says what makes no sense
├── KeepingError     a secret or a file cannot be kept or read
├── ProvisionError   what was found cannot be brought to what is wanted, or nobody agreed to it
└── ScanError        what should be scanned for secrets cannot be
"""

from __future__ import annotations


class OpsError(Exception):
    """Base of the tree; ``code`` is stable, ``hint`` says what to do."""

    def __init__(self, code: str, message: str, *, hint: str = "", retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.retryable = retryable


class ProfileError(OpsError):
    """The profile, or a secret it needs, does not say what to work on."""


class ContractError(OpsError):
    """``contracts/*.json`` are missing or say what makes no sense."""


class BillingError(OpsError):
    """Stripe cannot be heard, refuses, or says what makes no sense."""


class LicensingError(OpsError):
    """Keygen cannot be heard, refuses, or says what makes no sense."""


class KeepingError(OpsError):
    """A secret or a file cannot be kept or read."""


class ProvisionError(OpsError):
    """What was found cannot be brought to what is wanted, or nobody agreed to it."""


class ScanError(OpsError):
    """What should be scanned for secrets cannot be."""
