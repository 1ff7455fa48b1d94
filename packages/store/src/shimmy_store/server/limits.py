"""How often the same address, or the same mailbox, may try something."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from starlette.requests import Request

from shimmy_store.errors import VisitError
from shimmy_store.server.visit import Visit
from shimmy_store.wiring import Shop

PERIOD: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Limit:
    """So many tries in ten minutes."""

    name: str
    most: int


CHECKOUTS = Limit("checkout", 30)
LOOK_UPS = Limit("look-up", 200)
KEYS = Limit("key", 20)
LINKS = Limit("link", 30)
MAILS = Limit("mail", 20)
MAILS_TO_ONE = Limit("mail-to", 4)
OPERATORS = Limit("operator", 20)


async def count_visitor(visit: Visit, limit: Limit) -> None:
    """One more try from this address. Raises VisitError."""
    await count_address(visit.request, visit.shop, limit)


async def count_address(request: Request, shop: Shop, limit: Limit) -> None:
    """One more try from where this request comes from. Raises VisitError."""
    client = request.client
    await _count(shop, limit, _network(client.host if client else ""))


async def count_mailbox(visit: Visit, limit: Limit, email: str) -> None:
    """One more try for this mailbox, whoever asks and whether anybody has it."""
    # Folded as the search for customers is: every spelling that finds one counts as one.
    await _count(visit.shop, limit, email.strip().casefold())


def _network(host: str) -> str:
    """Whoever has one IPv6 address has 2**64 of them."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    inner = address.ipv4_mapped
    return str(inner or ipaddress.ip_network((address, 64), strict=False))


async def _count(shop: Shop, limit: Limit, who: str) -> None:
    # A digest under our secret: the ledger is no list of addresses.
    key = shop.settings.secrets[-1].encode()
    name = hmac.new(key, f"{limit.name} {who}".encode(), hashlib.sha256).hexdigest()
    now = shop.now()
    period = period_of(now)
    if await shop.ledger.count_try(name, period) > limit.most:
        end = (period + 1) * PERIOD.total_seconds()
        seconds = max(int(end - now.timestamp()), 1)
        raise VisitError(
            "too-many-requests",
            "That was tried too often.",
            hint=f"Try again in {max(seconds // 60, 1)} minutes.",
            retry_after=seconds,
        )


def period_of(moment: datetime) -> int:
    """The number of the ten minutes that this moment lies in."""
    return int(moment.timestamp() // PERIOD.total_seconds())
