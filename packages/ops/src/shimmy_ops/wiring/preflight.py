"""What preflight asks, on a profile's keys and addresses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from shimmy_ops.adapters.accounts.keygen_account import read_keygen_account
from shimmy_ops.adapters.accounts.keygen_licensing import KeygenLicensing
from shimmy_ops.adapters.accounts.stripe_billing import StripeBilling
from shimmy_ops.adapters.accounts.stripe_standing import read_methods, read_standing
from shimmy_ops.adapters.gathering.local_places import date_backups, is_site, look_at_secrets
from shimmy_ops.adapters.gathering.store_commands import check_site
from shimmy_ops.adapters.gathering.threaded_gatherer import SharedAnswer, ThreadedGatherer
from shimmy_ops.adapters.gathering.tls_handshakes import resolve_name, shake_hands
from shimmy_ops.adapters.gathering.web_pages import WebPages
from shimmy_ops.adapters.keeping.profile_file import read_profile_file
from shimmy_ops.adapters.scanning.git_commands import GitCommands
from shimmy_ops.domain.billing_steps import our_endpoints
from shimmy_ops.domain.credentials import METRICS_TOKEN, STRIPE_KEY
from shimmy_ops.domain.preflight.delivery_checks import probe_event
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
    Standing,
    Unasked,
    WorkerSecrets,
)
from shimmy_ops.domain.profile import Profile
from shimmy_ops.domain.secrets.allowances import judge
from shimmy_ops.domain.secrets.findings import Level
from shimmy_ops.domain.steps import BillingFound, Found, LicensingFound, secret_name
from shimmy_ops.domain.store_env import MADE
from shimmy_ops.domain.wanted import Desired
from shimmy_ops.errors import DeskError, KeepingError, ProfileError
from shimmy_ops.settings import allows_synthetic
from shimmy_ops.use_cases.scan_secrets import scan_secrets
from shimmy_ops.wiring.accounts import (
    desired_state,
    fresh_secret,
    http_client,
    need_credential,
    open_keygen,
    open_safe,
    open_stripe,
)
from shimmy_ops.wiring.backups import backup_place
from shimmy_ops.wiring.scanning import scan_order, scan_today
from shimmy_ops.wiring.store import in_use, open_desk
from shimmy_ops.wiring.worker import ask_worker_secrets

_STRIPE = "https://api.stripe.com"
_TRIES, _RETRIES = 3, 1
_HTTPS_PORT = 443
_JSON: Mapping[str, str] = {"Accept": "application/json"}
_MAILER_REFUSED = ("desk-failing", "desk-refused")


def utc_now() -> datetime:
    """This machine's clock."""
    return datetime.now(UTC)


def open_gatherer() -> ThreadedGatherer:
    """Asks several sources at once."""
    return ThreadedGatherer()


class ProfileSurroundings:
    """The ``Surroundings`` port. ``base`` is where the profile's folders are."""

    def __init__(self, profile: Profile, config: Path) -> None:
        self._profile = profile
        self._config = config
        self._base = config.resolve().parent
        self._at_stripe = SharedAnswer(self._read_billing)
        self._at_keygen = SharedAnswer(self._read_licensing)
        self._at_desk = SharedAnswer(self._read_figures)

    def stripe_key(self) -> KeyState:
        try:
            need_credential(self._profile, STRIPE_KEY)
        except (ProfileError, KeepingError) as error:
            return KeyState(error.message, error.hint)
        return KeyState()

    def tables(self) -> Mapping[str, str]:
        tables = read_profile_file(self._config).items()
        return {
            name: str(table.get("keygen_account", "")).lower()
            for name, table in tables
            if isinstance(table, dict)
        }

    def desired(self) -> Desired:
        return desired_state(self._profile)

    def billing(self) -> BillingFound:
        return self._at_stripe()

    def _read_billing(self) -> BillingFound:
        plans = [plan.id for plan in self.desired().offer.plans]
        with open_stripe(self._profile, _RETRIES) as client:
            return StripeBilling(client).read(plans)

    def licensing(self) -> LicensingFound:
        return self._at_keygen()

    def _read_licensing(self) -> LicensingFound:
        with open_keygen(self._profile) as wire:
            return KeygenLicensing(wire).read(self._profile.keygen_product)

    def held(self) -> frozenset[str]:
        names = [secret_name("endpoint", one["id"]) for one in self.billing().endpoints]
        names += [secret_name("token", one["id"]) for one in self.licensing().tokens]
        return open_safe(self._profile, self._base).held([*names, *MADE.values()])

    def standing(self) -> Standing:
        with open_stripe(self._profile, _RETRIES) as client:
            return read_standing(client)

    def methods(self) -> frozenset[str]:
        with open_stripe(self._profile, _RETRIES) as client:
            return read_methods(client)

    def keygen_account(self) -> KeygenAccount:
        with open_keygen(self._profile) as wire:
            return read_keygen_account(wire)

    def kept_files(self) -> KeptFiles | Unasked:
        if self._profile.keep != "file":
            return Unasked("Secrets are kept in the system's keyring.", needless=True)
        return look_at_secrets(self._base / self._profile.secrets_folder, GitCommands())

    def worker_secrets(self) -> WorkerSecrets | Unasked:
        return ask_worker_secrets(self._profile, self._base)

    def deliveries(self) -> Deliveries | Unasked:
        safe = open_safe(self._profile, self._base)
        billing = self.billing()
        names = [secret_name("endpoint", one["id"]) for one in billing.endpoints]
        found = Found(billing, LicensingFound(), safe.held(names))
        used, _ = our_endpoints(self.desired(), found)
        secret = safe.read(secret_name("endpoint", used["id"])) if used else None
        if secret is None:
            return Unasked("The secret of the webhook endpoint is not kept here.")
        event = probe_event(utc_now(), livemode=self._profile.livemode)
        with self._pages() as pages:
            url = self._profile.webhook_url
            forged = pages.deliver(url, event, f"whsec_{fresh_secret()}", utc_now())
            return Deliveries(pages.deliver(url, event, secret, utc_now()), forged)

    def stripe_clock(self) -> float:
        with self._pages() as pages:
            return pages.skew(f"{self._profile.stripe_url or _STRIPE}/v1/account", utc_now)

    def store_clock(self) -> float:
        return self._at_desk()[1]

    def figures(self) -> Mapping[str, Any]:
        return self._at_desk()[0]

    def _read_figures(self) -> tuple[Mapping[str, Any], float]:
        with open_desk(self._profile, self._base) as desk:
            before = utc_now()
            figures = desk.figures(1)
            middle = before + (utc_now() - before) / 2
        try:
            said = datetime.fromisoformat(figures["now"])
            return figures, (said - middle).total_seconds()
        except (LookupError, TypeError, ValueError) as error:
            raise DeskError(
                "figures-malformed", "The desk's figures do not say what time it is."
            ) from error

    def addresses(self) -> tuple[str, ...]:
        return resolve_name(urlsplit(self._profile.store_url).hostname or "")

    def certificate(self) -> Certificate | Unasked:
        place = urlsplit(self._profile.store_url)
        if place.scheme != "https":
            return Unasked("A store on loopback speaks no TLS.", needless=True)
        return shake_hands(place.hostname or "", place.port or _HTTPS_PORT)

    def insecure(self) -> Page | Unasked:
        place = urlsplit(self._profile.store_url)
        if place.scheme != "https":
            return Unasked("A store on loopback speaks no TLS.", needless=True)
        with self._pages() as pages:
            host = f"[{place.hostname}]" if ":" in (place.hostname or "") else place.hostname
            return pages.look(f"http://{host}/", {})

    def health(self) -> Page:
        return self._look("/health")

    def pricing(self) -> Page:
        return self._look("/pricing")

    def _look(self, path: str) -> Page:
        with self._pages() as pages:
            return pages.look(f"{self._profile.store_url}{path}", _JSON, _TRIES)

    def desk_closed(self) -> int:
        with self._pages() as pages:
            return pages.status(f"{self._profile.store_url}/operator/alarms", _JSON)

    def metrics(self) -> MetricsDoor:
        token = in_use(open_safe(self._profile, self._base).read(METRICS_TOKEN) or "")
        url = f"{self._profile.store_url}/metrics"
        with self._pages() as pages:
            known = pages.status(url, {"Authorization": f"Bearer {token}"})
            return MetricsDoor(known, pages.status(url, {}))

    def mail_probe(self) -> MailProbe | Unasked:
        if not self._profile.operator_mail:
            return Unasked("operator_mail is not set.", needless=True)
        with open_desk(self._profile, self._base) as desk:
            try:
                return MailProbe(desk.probe_mail(self._profile.operator_mail))
            except DeskError as error:
                if error.code not in _MAILER_REFUSED:
                    raise
                return MailProbe(refusal=error.message)

    def backups(self) -> tuple[Backup, ...]:
        return date_backups(backup_place(self._profile, self._base).records.read())

    def site_folder(self) -> bool:
        return bool(self._profile.site_folder) and is_site(self._base / self._profile.site_folder)

    def site_check(self) -> CommandSaid | Unasked:
        if not self.site_folder():
            return Unasked("There is no built site to check.", needless=True)
        mode = "live" if self._profile.livemode else "test"
        return check_site(self._base / self._profile.site_folder, mode)

    def site_page(self) -> SitePage:
        if not self._profile.site_url:
            return SitePage(0)
        with self._pages() as pages:
            return pages.links(f"{self._profile.site_url.rstrip('/')}/pricing.html")

    def tree_scan(self) -> CommandSaid | Unasked:
        if GitCommands().top(Path.cwd()) is None:
            return Unasked("This is run outside any git repository.", needless=True)
        order = scan_order([], None, history=False, everything=False)
        scan = scan_secrets(order.sources, order.unpacker, lambda *_: None)
        judged = judge(
            scan.findings, order.allowances, order.list_path, scan_today(), whole=order.whole
        )
        left = [one for one in judged.findings if one.level is Level.ERROR]
        first = f"{left[0].kind} in {left[0].origin}" if left else ""
        return CommandSaid(len(left), first)

    def legal_pages(self) -> Mapping[str, int]:
        named = {name: getattr(self._profile, name) for name in ("privacy_url", "terms_url")}
        return {name: self._status_of(url) for name, url in named.items() if url}

    def _status_of(self, url: str) -> int:
        with self._pages() as pages:
            try:
                return pages.status(url, {}, follow=True)
            except DeskError:
                return 0

    def synthetic(self) -> bool:
        return allows_synthetic()

    @contextmanager
    def _pages(self) -> Iterator[WebPages]:
        with http_client(self._profile, "") as client:
            yield WebPages(client)
