"""Everything that monitoring reads, keeps and sends, on a profile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from shimmy_ops.adapters.accounts.keygen_licence_books import KeygenLicenceBooks
from shimmy_ops.adapters.accounts.stripe_money import StripeMoney
from shimmy_ops.adapters.backups.backup_records_file import BackupRecordsFile
from shimmy_ops.adapters.monitoring.alert_file import AlertFile
from shimmy_ops.adapters.monitoring.prometheus_metrics import PrometheusMetrics
from shimmy_ops.adapters.monitoring.rule_files import write_rule_file
from shimmy_ops.adapters.monitoring.smtp_alerts import SmtpAlerts
from shimmy_ops.adapters.monitoring.sqlite_samples import SqliteSamples
from shimmy_ops.adapters.monitoring.ticket_files import TicketFiles
from shimmy_ops.adapters.monitoring.webhook_alerts import WebhookAlerts
from shimmy_ops.adapters.store.http_store_desk import HttpStoreDesk
from shimmy_ops.domain.credentials import (
    ALERT_WEBHOOK,
    MAIL,
    METRICS_TOKEN,
    OPERATOR_TOKEN,
)
from shimmy_ops.domain.monitoring.alerting import REMIND_HOURS, KnownAlert
from shimmy_ops.domain.monitoring.burning import LONGEST
from shimmy_ops.domain.monitoring.conditions import judge_conditions
from shimmy_ops.domain.monitoring.increases import take_apart
from shimmy_ops.domain.monitoring.picture import Picture
from shimmy_ops.domain.monitoring.revenue import catalogue_of
from shimmy_ops.domain.monitoring.samples import Sample
from shimmy_ops.domain.profile import Profile
from shimmy_ops.errors import ProfileError
from shimmy_ops.ports.monitoring import AlertChannel, LicenceBooks, MoneyBooks, Sources
from shimmy_ops.ports.store_desk import StoreDesk
from shimmy_ops.use_cases.make_picture import make_picture
from shimmy_ops.use_cases.read_books import BooksRead, read_books
from shimmy_ops.use_cases.send_alerts import send_alerts
from shimmy_ops.use_cases.take_sample import take_sample
from shimmy_ops.wiring.accounts import (
    desired_state,
    find_credential,
    http_client,
    open_keygen,
    open_safe,
    open_stripe,
)

Clock = Callable[[], datetime]
REMIND = timedelta(hours=REMIND_HOURS)
_BOOKS_GOOD_FOR = timedelta(minutes=5)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def utc_now() -> datetime:
    """This machine's clock."""
    return datetime.now(UTC)


class Monitor:
    """What the commands do, on one profile; ``base`` is where its folders are.

    Both accounts are read at most every five minutes. Opens what it needs at each act, so any
    thread may use it, one at a time.
    """

    def __init__(self, profile: Profile, base: Path, now: Clock = utc_now) -> None:
        self._profile = profile
        self._base = base
        self._now = now
        self._books: BooksRead | None = None
        self.sources = sources_of(profile, base, now)

    def sample(self, every: float) -> Sample:
        """Take one and keep it. Raises MonitorError where it cannot be kept."""
        return take_sample(self.sources, every, self._read_books)

    def alert(self, remind: timedelta = REMIND) -> tuple[KnownAlert, ...]:
        """Judge the samples and tell who has to know. Raises OpsError."""
        sources, now = self.sources, self._now()
        history = take_apart(sources.samples.since(now - LONGEST, now))
        channels = open_channels(self._profile)
        judged = judge_conditions(history, now)
        return send_alerts(sources.alerts, channels, judged, sources.profile, now, remind)

    def picture(self, hours: float) -> Picture:
        """Everything, over the last hours."""
        return make_picture(self.sources, hours, self._read_books())

    def _read_books(self) -> BooksRead:
        now = self._now()
        if self._books is None or not timedelta(0) <= now - self._books.read < _BOOKS_GOOD_FOR:
            self._books = read_books(self.sources)
        return self._books


def sources_of(profile: Profile, base: Path, now: Clock = utc_now) -> Sources:
    """All sources; nothing is opened yet. Raises ContractError."""
    offer = desired_state(profile).offer
    plans = [plan.id for plan in offer.plans]

    @contextmanager
    def desk() -> Iterator[StoreDesk]:
        # Without the operator's token there still are /health and /metrics.
        safe = open_safe(profile, base)
        operator, metrics = safe.read(OPERATOR_TOKEN) or "", safe.read(METRICS_TOKEN) or ""
        with http_client(profile, profile.store_url) as client:
            yield HttpStoreDesk(client, operator, metrics)

    @contextmanager
    def money() -> Iterator[MoneyBooks]:
        with open_stripe(profile) as client:
            yield StripeMoney(client, plans, offer.events)

    @contextmanager
    def licences() -> Iterator[LicenceBooks]:
        with open_keygen(profile) as wire:
            yield KeygenLicenceBooks(wire, profile.keygen_product)

    state = base / profile.state_folder
    tickets = base / profile.tickets_file if profile.tickets_file else None
    return Sources(
        profile.name,
        profile.webhook_url,
        catalogue_of(offer),
        desk,
        PrometheusMetrics(),
        money,
        licences,
        TicketFiles(tickets, profile.operator_mail.rpartition("@")[2]),
        BackupRecordsFile(state / "backups.json"),
        SqliteSamples(state / "samples.sqlite"),
        AlertFile(state / "alerts.json"),
        now,
    )


def open_channels(profile: Profile) -> Sequence[AlertChannel]:
    """The ways to reach somebody that have a credential. Raises ProfileError, KeepingError."""
    channels: list[AlertChannel] = []
    mail, webhook = (find_credential(profile, name) for name in (MAIL, ALERT_WEBHOOK))
    to = profile.alert_mail or profile.operator_mail
    if mail is not None:
        _stay_inside(profile, MAIL, mail.value)
        if not to:
            raise ProfileError(
                "alert-mail-missing",
                "There is a mail server, and nobody to write to.",
                hint="Set alert_mail or operator_mail in the profile.",
            )
        channels.append(SmtpAlerts(mail.value, profile.mail_from, to))
    if webhook is not None:
        _stay_inside(profile, ALERT_WEBHOOK, webhook.value)
        channels.append(WebhookAlerts(webhook.value, lambda: http_client(profile, "")))
    return channels


def _stay_inside(profile: Profile, name: str, url: str) -> None:
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    if profile.name == "sandbox" and host not in _LOOPBACK:
        raise ProfileError(
            "credential-outside",
            f"The {name} of the sandbox is not on loopback: a sandbox talks to nobody else.",
        )


def write_file(path: Path, text: str) -> None:
    """A file that others read. Raises MonitorError."""
    write_rule_file(path, text)
