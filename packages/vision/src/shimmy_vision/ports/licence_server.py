"""The licence server, as far as a customer's machine talks to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol, TypeAlias

from shimmy_vision.domain.licence.licence_facts import Denial, LicenceFacts, Machine, Verdict


@dataclass(frozen=True, slots=True)
class Reading:
    """A licence as the server had it at ``at``, a moment it signed."""

    facts: LicenceFacts
    at: datetime


@dataclass(frozen=True, slots=True)
class NotCounted:
    """An increment was refused whole, for certain; ``reason`` is for people."""

    reason: Literal["over-limit", "conflict"]


Counted: TypeAlias = Reading | NotCounted | Denial


class LicenceServer(Protocol):
    """What is not expected is raised: LicenceServerError, when the server cannot be heard.

    That covers no connection, no reply in time, a reply that is not genuine, 5xx and 429. A signed
    refusal of the licence is a Denial.
    """

    def validate(self, key: str, fingerprint: str) -> Verdict:
        """Ask without authentication whether ``key`` may be used on this machine."""
        ...

    def activate(self, key: str, machine: MachineToActivate) -> Machine | Denial:
        """Add this machine to the licence; the machine that is already there is as good."""
        ...

    def machines(self, key: str) -> tuple[Machine, ...] | Denial:
        """Every machine of the licence, oldest first."""
        ...

    def deactivate(self, key: str, machine: str) -> bool | Denial:
        """Remove a machine by id; False when there is none of this id."""
        ...

    def check_out(self, key: str, fingerprint: str, ttl: timedelta) -> str | Denial:
        """A machine file that ends after ``ttl``."""
        ...

    def read(self, key: str) -> Reading | Denial:
        """The licence with its count of pages."""
        ...

    def increment(self, key: str, licence: str, pages: int) -> Counted:
        """Count ``pages`` more. After a LicenceServerError they may be counted or not.

        Unless its ``sent`` is False: then nothing went out.
        """
        ...


@dataclass(frozen=True, slots=True)
class MachineToActivate:
    """What the server learns of this machine; ``name`` and ``platform`` are for its owner."""

    licence: str
    fingerprint: str
    name: str
    platform: str
