"""What monitoring reads, keeps and sends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shimmy_ops.domain.monitoring.accounts import HeldLicence, Money
from shimmy_ops.domain.monitoring.alerting import KnownAlert, Notice
from shimmy_ops.domain.monitoring.revenue import Catalogue
from shimmy_ops.domain.monitoring.samples import Sample
from shimmy_ops.domain.monitoring.store_metrics import Scrape
from shimmy_ops.domain.monitoring.tickets import Ticket
from shimmy_ops.ports.store_desk import StoreDesk
from shimmy_ops.ports.vault import BackupRecords


@dataclass(frozen=True, slots=True)
class EndpointFound:
    """Our webhook endpoint at Stripe: its status, and when events were made that wait for it."""

    status: str
    undelivered: Sequence[datetime]


class ScrapeReader(Protocol):
    """Prometheus' text format."""

    def read(self, text: str) -> Scrape:
        """What is ours of it. Raises DeskError for anything else."""


class MoneyBooks(Protocol):
    """Stripe. Every method raises BillingError."""

    def money(self) -> Money:
        """All subscriptions, sales, refunds, disputes and open invoices."""

    def endpoint(self, url: str) -> EndpointFound:
        """Of the address; status ``enabled``, ``disabled`` or ``missing``."""


class LicenceBooks(Protocol):
    """Keygen. Raises LicensingError."""

    def licences(self, now: datetime) -> Sequence[HeldLicence]:
        """All licences of our plans."""


class TicketBooks(Protocol):
    """Support. Raises MonitorError."""

    def tickets(self) -> Sequence[Ticket] | None:
        """All tickets; None where no file is named."""


class SampleBook(Protocol):
    """Samples on disk; two programs may use it at the same time. All raise MonitorError."""

    def add(self, sample: Sample) -> None:
        """Keep one."""

    def since(self, start: datetime, until: datetime | None = None) -> Iterator[Sample]:
        """From then on, in order of time; up to ``until``, that one too, where it is given.

        Whoever asks what is now gives now: a clock that was ahead for a moment leaves samples that
        would stay the newest until their time comes.
        """

    def prune(self, before: datetime) -> None:
        """Forget what is older."""


class OpenAlerts(Protocol):
    """The alerts, held: nobody else changes them meanwhile."""

    def read(self) -> Sequence[KnownAlert]:
        """All that are known. Raises MonitorError for a damaged file."""

    def keep(self, alerts: Sequence[KnownAlert]) -> None:
        """These instead, whole or not at all. Raises KeepingError."""


class AlertBook(Protocol):
    """Alerts on disk."""

    def read(self) -> Sequence[KnownAlert]:
        """As they were kept last, whoever holds them. Raises MonitorError."""

    def hold(self) -> AbstractContextManager[OpenAlerts]:
        """Until the block ends. Raises MonitorError."""


class AlertChannel(Protocol):
    """A way to reach somebody."""

    @property
    def name(self) -> str:
        """``mail`` or ``webhook``; nothing secret."""

    def send(self, notice: Notice) -> None:
        """Raises MonitorError where it did not go out."""


@dataclass(frozen=True, slots=True)
class Sources:
    """All that is watched. Those that need a credential are opened when they are asked."""

    profile: str
    webhook_url: str
    catalogue: Catalogue
    desk: Callable[[], AbstractContextManager[StoreDesk]]
    scrapes: ScrapeReader
    money: Callable[[], AbstractContextManager[MoneyBooks]]
    licences: Callable[[], AbstractContextManager[LicenceBooks]]
    tickets: TicketBooks
    backups: BackupRecords
    samples: SampleBook
    alerts: AlertBook
    now: Callable[[], datetime]
