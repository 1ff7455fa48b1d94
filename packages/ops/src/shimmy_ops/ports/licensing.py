"""Keygen, as far as provisioning asks it."""

from __future__ import annotations

from typing import Protocol

from shimmy_ops.domain.steps import LicensingFound, Step
from shimmy_ops.ports.billing import Made


class Licensing(Protocol):
    """Every method raises LicensingError."""

    def read(self, product: str) -> LicensingFound:
        """Everything of the account that may concern us; ``product`` is an id, empty for ours."""

    def perform(self, step: Step) -> Made:
        """One write, after a ``read``; never sent twice, since Keygen knows no idempotency."""
