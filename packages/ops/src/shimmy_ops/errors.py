"""Every error this distribution raises on purpose.

OpsError
├── ProfileError     the profile, or a secret it needs, does not say what to work on
├── ContractError    contracts/*.json are missing or say what makes no sense
├── BillingError     Stripe cannot be heard, refuses, or says what makes no sense
├── LicensingError   Keygen cannot be heard, refuses, or says what makes no sense
├── KeepingError     a secret or a file cannot be kept or read
├── ProvisionError   what was found cannot be brought to what is wanted, or nobody agreed to it
├── ScanError        what should be scanned for secrets cannot be
├── DeskError        the store's operator desk cannot be heard, refuses, or makes no sense
├── CustomerError    a customer cannot be found, exported or erased as asked
├── BackupError      a backup cannot be made, is damaged, or cannot go where it should
├── ReleaseError     a release cannot be judged, recorded, put in place, or taken back
├── DeployError      a release cannot be deployed, or did not hold once it was
├── RotationError    a secret cannot be replaced, or the store does not take the new one
├── TransactionError the live transaction cannot begin, go on, or did not end as it must
├── LaunchError      the launch plan or its record makes no sense, or a task may not run yet
└── MonitorError     what is watched cannot be read, or an alert cannot be sent
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


class DeskError(OpsError):
    """The store's operator desk cannot be heard, refuses, or says what makes no sense."""


class CustomerError(OpsError):
    """A customer cannot be found, exported or erased as asked."""


class BackupError(OpsError):
    """A backup cannot be made, is damaged, or cannot go where it should."""


class ReleaseError(OpsError):
    """A release cannot be judged, recorded, put in place, or taken back."""


class DeployError(OpsError):
    """A release cannot be deployed, or did not hold once it was."""


class RotationError(OpsError):
    """A secret cannot be replaced, or the store does not take the new one."""


class TransactionError(OpsError):
    """The live transaction cannot begin, go on, or did not end as it must."""


class LaunchError(OpsError):
    """The launch plan or its record makes no sense, or a task may not run yet."""


class MonitorError(OpsError):
    """What is watched cannot be read, or an alert cannot be sent."""
