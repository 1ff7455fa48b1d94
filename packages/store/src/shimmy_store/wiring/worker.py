"""A Cloudflare Worker's way into the store: everything over ``fetch``, nothing on a disk."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from shimmy_store.adapters.d1_binding import D1Binding
from shimmy_store.adapters.d1_database import D1Database
from shimmy_store.adapters.js_fetch_transport import JsFetchTransport
from shimmy_store.adapters.ledger_schema import check_ledger, claim_ledger
from shimmy_store.adapters.resend_mailer import ResendMailer
from shimmy_store.adapters.stripe_over_httpx import StripeOverHttpx
from shimmy_store.errors import SettingsError
from shimmy_store.ports.database import Database
from shimmy_store.settings import Settings
from shimmy_store.wiring.shop import (
    TIMEOUT_SECONDS,
    Lines,
    Shop,
    furnish_shop,
    keygen_client,
    now_in_utc,
    resend_client,
)


def open_ledger(settings: Settings, bindings: object) -> Database:
    """The D1 database that the ledger's address names among a Worker's bindings.

    Raises SettingsError where there is none of that name.
    """
    name = settings.ledger.removeprefix("d1://")
    binding = getattr(bindings, name, None)
    if binding is None:
        raise SettingsError(
            "ledger-not-bound",
            f"No D1 database is bound to this Worker as {name}.",
            hint="Name it under d1_databases in wrangler.jsonc, for this environment.",
        )
    # The runtime's Python wraps bindings and converts what passes; within is D1's own.
    return D1Database(D1Binding(getattr(binding, "_binding", binding)))


async def open_worker_shop(
    settings: Settings, database: Database, now: Callable[[], datetime] = now_in_utc
) -> Shop:
    """A shop that may be kept for as long as the isolate lives: none of it holds a connection.

    One question to the ledger, whose tables ``wrangler d1 migrations apply`` has made.
    Raises StoreError.
    """
    await check_ledger(database)
    await claim_ledger(database, settings.mode)
    transport = JsFetchTransport()
    lines = Lines(
        StripeOverHttpx(transport, TIMEOUT_SECONDS),
        keygen_client(settings, transport),
        ResendMailer(resend_client(settings, transport), settings.mail_from),
    )
    return furnish_shop(settings, database, lines, now)
