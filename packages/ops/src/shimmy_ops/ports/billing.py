"""Stripe, as far as provisioning asks it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from shimmy_ops.domain.steps import BillingFound, Step


@dataclass(frozen=True, slots=True)
class Made:
    """What a step made: its id, and the secret that is shown this once."""

    id: str = ""
    secret: str = field(repr=False, default="")


class Billing(Protocol):
    """Every method raises BillingError."""

    def read(self, plans: Sequence[str]) -> BillingFound:
        """Everything that concerns these plans, ours and others', whatever pages it comes in."""

    def perform(self, step: Step, attempt: str) -> Made:
        """One write, after a ``read``. The same step and ``attempt`` happen once in 24 hours."""
