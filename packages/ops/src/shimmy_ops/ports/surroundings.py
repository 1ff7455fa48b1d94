"""What preflight asks: one method a source of facts (``domain/preflight/facts.py``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from shimmy_ops.domain.preflight.facts import (
    Backup,
    Certificate,
    CommandSaid,
    Deliveries,
    KeptFiles,
    KeygenAccount,
    KeyState,
    MailProbe,
    MetricsDoor,
    Page,
    SitePage,
    Source,
    Standing,
    Unasked,
    WorkerSecrets,
)
from shimmy_ops.domain.steps import BillingFound, LicensingFound
from shimmy_ops.domain.wanted import Desired

Told: TypeAlias = Callable[[Source], None]


@dataclass(frozen=True, slots=True)
class Way:
    """How one source is asked, and how long that may take."""

    ask: Callable[[], Any]
    seconds: float


class Gatherer(Protocol):
    """Asks several at once."""

    def gather(self, ways: Mapping[Source, Way], at_once: int, told: Told) -> Mapping[Source, Any]:
        """An answer for each; Unasked for what raised or took too long. ``told`` hears of each."""


class Surroundings(Protocol):
    """Accounts, store, files and addresses of one profile. Every method may raise OpsError."""

    def stripe_key(self) -> KeyState:
        """Whether a key of the right mode is given."""

    def tables(self) -> Mapping[str, str]:
        """The Keygen account of each profile in the file, in lower case."""

    def desired(self) -> Desired:
        """What the contracts and the profile ask for."""

    def billing(self) -> BillingFound:
        """What is at Stripe."""

    def licensing(self) -> LicensingFound:
        """What is at Keygen."""

    def held(self) -> frozenset[str]:
        """Names of made secrets that are kept."""

    def standing(self) -> Standing:
        """What Stripe lets the account do."""

    def methods(self) -> frozenset[str]:
        """Ways to pay that are switched on at Stripe."""

    def keygen_account(self) -> KeygenAccount:
        """The account that the token is of."""

    def kept_files(self) -> KeptFiles | Unasked:
        """Who else may read the made secrets."""

    def worker_secrets(self) -> WorkerSecrets | Unasked:
        """Which secrets the Worker in place has, of those that its configuration asks for."""

    def deliveries(self) -> Deliveries | Unasked:
        """Post two events to the store's webhook: one well signed, one not."""

    def stripe_clock(self) -> float:
        """Seconds that Stripe's clock is ahead of ours."""

    def store_clock(self) -> float:
        """Seconds that the store's clock is ahead of ours."""

    def addresses(self) -> tuple[str, ...]:
        """What the store's name leads to."""

    def certificate(self) -> Certificate | Unasked:
        """What the store shows when TLS begins."""

    def insecure(self) -> Page | Unasked:
        """What plain http at the store's name is answered."""

    def health(self) -> Page:
        """The store's /health."""

    def pricing(self) -> Page:
        """The store's /pricing, as JSON."""

    def desk_closed(self) -> int:
        """The status that the operator's desk answers without a token."""

    def figures(self) -> Mapping[str, Any]:
        """The desk's figures."""

    def metrics(self) -> MetricsDoor:
        """Who gets the metrics."""

    def mail_probe(self) -> MailProbe | Unasked:
        """Have the store send a test mail."""

    def backups(self) -> tuple[Backup, ...]:
        """The backups that were made."""

    def site_folder(self) -> bool:
        """Whether the profile's folder holds a built site."""

    def site_check(self) -> CommandSaid | Unasked:
        """What the store's own check of the built site finds."""

    def site_page(self) -> SitePage:
        """The site's plans, where they are published."""

    def tree_scan(self) -> CommandSaid | Unasked:
        """Secrets in what git tracks here."""

    def legal_pages(self) -> Mapping[str, int]:
        """The statuses of the legal pages that the profile names; 0 where nobody answers."""

    def synthetic(self) -> bool:
        """Whether models of random weights would be accepted."""
