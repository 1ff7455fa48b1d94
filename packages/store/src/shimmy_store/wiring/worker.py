"""A Cloudflare Worker's way into the store: everything over ``fetch``, nothing on a disk."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from shimmy_store.adapters.js_fetch_transport import JsFetchTransport
from shimmy_store.adapters.ledger_schema import check_ledger, claim_ledger
from shimmy_store.adapters.resend_mailer import ResendMailer
from shimmy_store.adapters.stripe_over_httpx import StripeOverHttpx
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
