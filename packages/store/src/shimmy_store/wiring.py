"""The one place where the store's adapters meet its domain."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx
import stripe

from shimmy_store.adapters.contract_files import read_plans, read_webhook_events
from shimmy_store.adapters.dump_file import read_dump_file, write_dump_file
from shimmy_store.adapters.gated_database import GatedDatabase
from shimmy_store.adapters.html_reader import StandardHtmlReader
from shimmy_store.adapters.jinja_letters import JinjaLetters
from shimmy_store.adapters.jinja_site import JinjaSite, site_place
from shimmy_store.adapters.keygen_holdings import KeygenHoldings
from shimmy_store.adapters.keygen_licences import KeygenLicences
from shimmy_store.adapters.keygen_wire import KeygenWire
from shimmy_store.adapters.ledger_schema import claim_ledger, migrate_ledger
from shimmy_store.adapters.operator_file import read_operator
from shimmy_store.adapters.resend_mailer import ResendMailer
from shimmy_store.adapters.signed_links import SignedLinks
from shimmy_store.adapters.site_folder import DiskSiteFolder
from shimmy_store.adapters.smtp_mailer import SmtpMailer
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.adapters.sql_ledger_copies import SqlLedgerCopies
from shimmy_store.adapters.sql_ledger_desk import SqlLedgerDesk
from shimmy_store.adapters.sqlite_database import SqliteDatabase
from shimmy_store.adapters.stripe_checkout import StripeCheckout
from shimmy_store.adapters.stripe_payments import StripePayments
from shimmy_store.domain.catalog import Catalog, parse_catalog
from shimmy_store.domain.site.findings import Finding
from shimmy_store.domain.site.operator import draft_operator, parse_operator
from shimmy_store.domain.site.order import SiteMode, SiteOrder
from shimmy_store.domain.webhook_event import parse_handled
from shimmy_store.errors import SettingsError
from shimmy_store.ports.database import Database
from shimmy_store.ports.holdings import Holdings
from shimmy_store.ports.ledger import Ledger
from shimmy_store.ports.ledger_desk import LedgerCopies, LedgerDesk
from shimmy_store.ports.mail import LinkSigner, Mailer
from shimmy_store.settings import Settings
from shimmy_store.use_cases.build_site import build_site
from shimmy_store.use_cases.check_site import check_site
from shimmy_store.use_cases.fulfil_customer import Fulfilment
from shimmy_store.use_cases.receive_event import Endpoint
from shimmy_store.use_cases.send_messages import PostOffice
from shimmy_store.use_cases.start_checkout import Counter

_TIMEOUT_SECONDS = 10
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Shop:
    """Everything that the store's entry points work with."""

    settings: Settings
    catalog: Catalog
    ledger: Ledger
    counter: Counter
    fulfilment: Fulfilment
    office: PostOffice
    holdings: Holdings
    signer: LinkSigner
    endpoint: Endpoint
    desk: LedgerDesk
    copies: LedgerCopies
    now: Callable[[], datetime]


def catalog() -> Catalog:
    """The checked catalog of plans."""
    return parse_catalog(read_plans())


def build_site_at(order: SiteOrder, operator: Path | None, out: Path) -> int:
    """Build the static site; without an operator's file a draft, which is for test mode only."""
    if operator is not None:
        named = parse_operator(read_operator(operator))
    else:
        named = draft_operator() if order.mode == "test" else parse_operator({})
    return build_site(order, named, catalog(), JinjaSite(site_place()), DiskSiteFolder(out))


def check_site_at(mode: SiteMode, folder: Path, hosts: frozenset[str]) -> tuple[Finding, ...]:
    """What is wrong with a built site."""
    return check_site(mode, catalog(), DiskSiteFolder(folder), StandardHtmlReader(), hosts)


def write_dump_at(path: Path, lines: Iterable[bytes]) -> None:
    """A dump as a file."""
    write_dump_file(path, lines)


def read_dump_at(path: Path) -> Iterator[bytes]:
    """The lines of a dump in a file."""
    return read_dump_file(path)


@asynccontextmanager
async def open_shop(
    settings: Settings, now: Callable[[], datetime] | None = None
) -> AsyncIterator[Shop]:
    """The store's connections, with its tables brought up to date. Raises StoreError."""
    now = now or _now
    plans, handled = catalog(), parse_handled(read_webhook_events())
    async with AsyncExitStack() as stack:
        database = await _open_database(settings)
        stack.push_async_callback(database.close)
        await migrate_ledger(database)
        await claim_ledger(database, settings.mode)
        gated = GatedDatabase(database)
        ledger = SqlLedger(gated)
        client = _stripe_client(settings, stack)
        payments, checkout = StripePayments(client), StripeCheckout(client, settings.portal)
        wire = KeygenWire(await stack.enter_async_context(_keygen_client(settings)))
        licences = KeygenLicences(wire, settings.policies)
        mailer = await _mailer(settings, stack)
        signer = SignedLinks(settings.secrets)
        owner = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4()}"
        yield Shop(
            settings,
            plans,
            ledger,
            Counter(plans, checkout, payments, ledger, settings.livemode, settings.url, now),
            Fulfilment(payments, licences, ledger, owner, now),
            PostOffice(ledger, licences, mailer, JinjaLetters(), signer, plans, settings.url, now),
            KeygenHoldings(wire, licences),
            signer,
            Endpoint(settings.webhook_secrets, settings.livemode, handled),
            SqlLedgerDesk(gated),
            SqlLedgerCopies(database),
            now,
        )


async def _open_database(settings: Settings) -> Database:
    place = urlsplit(settings.ledger)
    if place.scheme == "postgresql":
        # Only where it is asked for: it is an extra, and no Worker has it.
        try:
            from shimmy_store.adapters.postgres_database import PostgresDatabase
        except ImportError as error:
            raise SettingsError(
                "postgresql-not-installed",
                "The ledger is on PostgreSQL and its driver is not installed.",
                hint="Install it: pip install 'shimmy-store[postgresql]'",
            ) from error
        return await PostgresDatabase.open(settings.ledger)
    return SqliteDatabase(unquote(settings.ledger.removeprefix("sqlite://").removeprefix("/")))


def _stripe_client(settings: Settings, stack: AsyncExitStack) -> stripe.StripeClient:
    http = stripe.HTTPXClient(timeout=_TIMEOUT_SECONDS)
    stack.push_async_callback(http.close_async)
    elsewhere = {"api": settings.stripe_url} if settings.stripe_url else {}
    return stripe.StripeClient(
        settings.stripe_key,
        base_addresses=elsewhere,  # type: ignore[arg-type]
        http_client=http,
        max_network_retries=2,
    )


def _keygen_client(settings: Settings) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"{settings.keygen_url}/v1/accounts/{settings.keygen_account}/",
        headers={"Authorization": f"Bearer {settings.keygen_token}"},
        timeout=_TIMEOUT_SECONDS,
        # A proxy has no business between two programs of one machine.
        trust_env=urlsplit(settings.keygen_url).hostname not in _LOOPBACK,
    )


async def _mailer(settings: Settings, stack: AsyncExitStack) -> Mailer:
    place = urlsplit(settings.mail)
    if place.scheme in ("smtp", "smtps"):
        return SmtpMailer(settings.mail, settings.mail_from)
    scheme = "http" if place.scheme == "resend+http" else "https"
    host = place.netloc.rpartition("@")[2]
    client = httpx.AsyncClient(
        base_url=f"{scheme}://{host}",
        headers={"Authorization": f"Bearer {unquote(place.username or '')}"},
        timeout=_TIMEOUT_SECONDS,
        trust_env=place.hostname not in _LOOPBACK,
    )
    return ResendMailer(await stack.enter_async_context(client), settings.mail_from)


def _now() -> datetime:
    return datetime.now(UTC)
