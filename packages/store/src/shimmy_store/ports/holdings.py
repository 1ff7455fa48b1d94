"""What a customer sees of a licence, as the licence server has it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from shimmy_store.domain.convergence import IssuedLicence


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine that the licence is activated on."""

    id: str
    name: str
    platform: str
    activated: datetime


@dataclass(frozen=True, slots=True)
class Holding:
    """One licence with its use; limits None are none."""

    licence: IssuedLicence
    pages_used: int
    pages_allowed: int | None
    machines_allowed: int | None
    machines: tuple[Machine, ...] = field(default=())


class Holdings(Protocol):
    """Every method raises LicensingError."""

    async def show(self, licence: uuid.UUID) -> Holding | None:
        """Everything about one licence."""
        ...

    async def find_key(self, key: str) -> IssuedLicence | None:
        """The licence with this key, whatever its state."""
        ...

    async def free_machine(self, licence: uuid.UUID, machine: str) -> bool:
        """Take a machine off this licence; False if it is none of it."""
        ...

    async def reach(self) -> None:
        """Make sure that the licence server answers us."""
        ...
