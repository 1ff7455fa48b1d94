"""Everything that the store works with, made once: on a machine here, elsewhere by its siblings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote, urlsplit

import httpx
import stripe

from shimmy_store.adapters.contract_files import read_plans, read_webhook_events
from shimmy_store.adapters.gated_database import GatedDatabase
from shimmy_store.adapters.jinja_letters import JinjaLetters
from shimmy_store.adapters.keygen_holdings import KeygenHoldings
from shimmy_store.adapters.keygen_licences import KeygenLicences
from shimmy_store.adapters.keygen_wire import KeygenWire, ReplyWitness
from shimmy_store.adapters.ledger_schema import claim_ledger, migrate_ledger
from shimmy_store.adapters.process_names import can_tell, is_gone, name_process
from shimmy_store.adapters.resend_mailer import ResendMailer
from shimmy_store.adapters.signature_verifier import ed25519_verifier
from shimmy_store.adapters.signed_links import SignedLinks
from shimmy_store.adapters.sql_ledger_copies import SqlLedgerCopies
from shimmy_store.adapters.sql_ledger_desk import SqlLedgerDesk
from shimmy_store.adapters.stripe_checkout import StripeCheckout
from shimmy_store.adapters.stripe_payments import StripePayments
from shimmy_store.adapters.structlog_ledger import LoggedLedger
from shimmy_store.adapters.traced_clients import TracedKeygen, TracedMailer, TracedStripe
from shimmy_store.domain.catalog import Catalog, parse_catalog
from shimmy_store.domain.webhook_event import parse_handled
from shimmy_store.errors import SettingsError
from shimmy_store.ports.database import Database
from shimmy_store.ports.holdings import Holdings
from shimmy_store.ports.ledger import Ledger
from shimmy_store.ports.ledger_desk import LedgerCopies, LedgerDesk
from shimmy_store.ports.mail import LinkSigner, Mailer
from shimmy_store.ports.tracing import Tracer, Untraced
from shimmy_store.settings import Settings
from shimmy_store.use_cases.fulfil_customer import Fulfilment
from shimmy_store.use_cases.receive_event import Endpoint
from shimmy_store.use_cases.send_messages import PostOffice
from shimmy_store.use_cases.start_checkout import Counter
from shimmy_store.wiring.tracing import open_tracer

TIMEOUT_SECONDS = 10
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
    tracer: Tracer


@dataclass(frozen=True, slots=True)
class Lines:
    """How this host reaches the others: sockets on a machine, ``fetch`` on a Worker."""

    stripe: stripe.HTTPClient
    keygen: httpx.AsyncClient
    mailer: Mailer


def catalog() -> Catalog:
    """The checked catalog of plans."""
    return parse_catalog(read_plans())


@asynccontextmanager
async def open_shop(
    settings: Settings, now: Callable[[], datetime] | None = None
) -> AsyncIterator[Shop]:
    """The store's connections, with its tables brought up to date. Raises StoreError."""
    async with AsyncExitStack() as stack:
        tracer = await open_tracer(settings, stack)
        database = await _open_database(settings)
        stack.push_async_callback(database.close)
        await migrate_ledger(database)
        await claim_ledger(database, settings.mode)
        http = TracedStripe(tracer, TIMEOUT_SECONDS)
        stack.push_async_callback(http.close_async)
        keygen = await stack.enter_async_context(keygen_client(settings, tracer=tracer))
        mailer = TracedMailer(await _mailer(settings, stack), tracer)
        lines = Lines(http, keygen, mailer)
        yield furnish_shop(settings, database, lines, now or now_in_utc, tracer)


def furnish_shop(
    settings: Settings,
    database: Database,
    lines: Lines,
    now: Callable[[], datetime],
    tracer: Tracer | None = None,
) -> Shop:
    """A shop over a ledger that is ready; asks nobody anything. Raises StoreError."""
    plans, handled = catalog(), parse_handled(read_webhook_events())
    traced = tracer or Untraced()
    gated = GatedDatabase(database)
    ledger = LoggedLedger(gated)
    client = _stripe_client(settings, lines.stripe)
    payments, checkout = StripePayments(client), StripeCheckout(client, settings.portal)
    wire = KeygenWire(lines.keygen, _witness(settings, now))
    licences = KeygenLicences(wire, settings.policies)
    signer = SignedLinks(settings.secrets)
    return Shop(
        settings,
        plans,
        ledger,
        Counter(plans, checkout, payments, ledger, settings.livemode, settings.url, now),
        Fulfilment(
            payments,
            licences,
            ledger,
            name_process(),
            now,
            is_gone if can_tell() else None,
            traced,
        ),
        PostOffice(
            ledger, licences, lines.mailer, JinjaLetters(), signer, plans, settings.url, now
        ),
        KeygenHoldings(wire, licences),
        signer,
        Endpoint(settings.webhook_secrets, settings.livemode, handled),
        SqlLedgerDesk(gated),
        SqlLedgerCopies(database),
        now,
        traced,
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
    # A Worker has no SQLite of its own.
    from shimmy_store.adapters.sqlite_database import SqliteDatabase

    return SqliteDatabase(unquote(settings.ledger.removeprefix("sqlite://").removeprefix("/")))


def _stripe_client(settings: Settings, http: stripe.HTTPClient) -> stripe.StripeClient:
    elsewhere = {"api": settings.stripe_url} if settings.stripe_url else {}
    return stripe.StripeClient(
        settings.stripe_key,
        base_addresses=elsewhere,  # type: ignore[arg-type]
        http_client=http,
        max_network_retries=2,
    )


def _witness(settings: Settings, now: Callable[[], datetime]) -> ReplyWitness | None:
    if not settings.keygen_public_key:
        return None
    return ReplyWitness(bytes.fromhex(settings.keygen_public_key), ed25519_verifier(), now)


def keygen_client(
    settings: Settings,
    transport: httpx.AsyncBaseTransport | None = None,
    tracer: Tracer | None = None,
) -> httpx.AsyncClient:
    """To the account at Keygen, as the store; over sockets where no transport is given."""
    return TracedKeygen(
        tracer or Untraced(),
        base_url=f"{settings.keygen_url}/v1/accounts/{settings.keygen_account}/",
        headers={"Authorization": f"Bearer {settings.keygen_token}"},
        timeout=TIMEOUT_SECONDS,
        transport=transport,
        # A proxy has no business between two programs of one machine.
        trust_env=transport is None and urlsplit(settings.keygen_url).hostname not in _LOOPBACK,
    )


async def _mailer(settings: Settings, stack: AsyncExitStack) -> Mailer:
    if urlsplit(settings.mail).scheme in ("smtp", "smtps"):
        # Sockets: a Worker's settings refuse it, and its bundle is without it.
        from shimmy_store.adapters.smtp_mailer import SmtpMailer

        return SmtpMailer(settings.mail, settings.mail_from)
    client = await stack.enter_async_context(resend_client(settings))
    return ResendMailer(client, settings.mail_from)


def resend_client(
    settings: Settings, transport: httpx.AsyncBaseTransport | None = None
) -> httpx.AsyncClient:
    """To the mail API; over sockets where no transport is given."""
    place = urlsplit(settings.mail)
    scheme = "http" if place.scheme == "resend+http" else "https"
    return httpx.AsyncClient(
        base_url=f"{scheme}://{place.netloc.rpartition('@')[2]}",
        headers={"Authorization": f"Bearer {unquote(place.username or '')}"},
        timeout=TIMEOUT_SECONDS,
        transport=transport,
        trust_env=transport is None and place.hostname not in _LOOPBACK,
    )


def now_in_utc() -> datetime:
    """The time by this host's clock."""
    return datetime.now(UTC)
