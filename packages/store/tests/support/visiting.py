"""Those who come to a store with something in mind: programs, strangers, machines of customers."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from starlette.applications import Starlette
from store_server import Store, Visitor, eventually
from town import NO_TLS

from shimmy_sandbox.keygen.shop import Counter
from shimmy_store.server.app import create_app
from shimmy_store.wiring import open_shop

POSTS = (
    "/create-checkout-session",
    "/create-portal-session",
    "/free-machine",
    "/merge",
    "/sign-out",
    "/view-license",
)
Result = TypeVar("Result")


@contextmanager
def program(store: Store, **headers: str) -> Iterator[httpx.Client]:
    """No browser: takes anything, keeps what cookies it is given."""
    with httpx.Client(
        base_url=store.url, trust_env=False, verify=NO_TLS, timeout=30, headers=headers
    ) as client:
        yield client


@dataclass(frozen=True)
class Door:
    """A second app on a store's ledger, without sockets: whoever comes, comes from anywhere."""

    app: Starlette
    url: str

    def visitor(self, address: str = "203.0.113.7", **headers: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, client=(address, 50000))
        return httpx.AsyncClient(transport=transport, base_url=self.url, headers=headers)


def at_door(store: Store, act: Callable[[Door], Awaitable[Result]], **changes: Any) -> Result:
    """Do something at a door of the store with other settings."""
    settings = replace(store.settings, **changes)

    async def run() -> Result:
        app = create_app(settings, partial(open_shop, now=store.town.now), works=False)
        async with app.router.lifespan_context(app):
            return await act(Door(app, settings.url))

    return asyncio.run(run())


def signed_in(store: Store, key: str) -> Visitor:
    """A browser that showed this key."""
    visitor = store.visitor()
    visitor.open("/view-license")
    assert visitor.submit("/view-license", key=key).status_code == 303
    return visitor


def form_token(visitor: Visitor) -> str:
    """What the forms of this browser carry."""
    found = re.search(r'name="csrf" value="(\w{64})"', visitor.open("/pricing").text)
    assert found
    return found[1]


def ask_for_link(store: Store, visitor: Visitor, email: str) -> str:
    """The path of the link that is mailed to this browser's visitor."""
    before = len(store.mails(email))
    visitor.open("/view-license")
    assert visitor.submit("/view-license", email=email).status_code == 202

    def look() -> str | None:
        for mail in store.mails(email)[before:]:
            found = re.search(r"/sign-in\?token=\S+", mail["text"])
            if found:
                return found[0]
        return None

    return eventually(look)


def offer_of_merge(store: Store, email: str) -> str:
    """The path that a mail offers to whoever holds two licences."""

    def look() -> str | None:
        found = [re.search(r"/merge\?token=\S+", one["text"]) for one in store.mails(email)]
        return next((one[0] for one in found if one), None)

    return eventually(look)


def customer_on(page: str) -> str:
    """The Stripe customer whose billing the licence page leads to."""
    found = re.search(r'name="customer" value="(cus_\w+)"', page)
    assert found, page
    return found[1]


def licence_at_keygen(store: Store, key: str) -> Mapping[str, Any]:
    with Counter(store.town.keygen) as counter:
        found: Mapping[str, Any] = counter.ask("GET", f"licenses/{key}")["data"]
    return found


def activate(store: Store, key: str, name: str, platform: str = "linux") -> str:
    """A machine of a customer's, activated with the key alone."""
    licence = licence_at_keygen(store, key)["id"]
    data = {
        "type": "machines",
        "attributes": {"fingerprint": name, "name": name, "platform": platform},
        "relationships": {"license": {"data": {"type": "licenses", "id": licence}}},
    }
    answer = httpx.post(
        f"{store.town.keygen.url}/v1/accounts/{store.town.keygen.account}/machines",
        json={"data": data},
        headers={"Authorization": f"License {key}", "Content-Type": "application/vnd.api+json"},
        trust_env=False,
        verify=NO_TLS,
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["data"]["id"])


def send_raw(url: str, *parts: bytes, pause: Callable[[], None] = lambda: None) -> bytes:
    """Bytes as they are, with a pause before each part but the first; all that comes back."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname or "", place.port or 80), timeout=10) as line:
        for number, part in enumerate(parts):
            if number:
                pause()
            try:
                line.sendall(part)
            except OSError:
                break  # It has answered and does not listen any more.
        answer = b""
        try:
            while piece := line.recv(65536):
                answer += piece
        except ConnectionError:
            pass
        return answer
