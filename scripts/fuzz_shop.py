"""The store: its forms, its JSON and Stripe's deliveries, with the sandbox beside it."""

from __future__ import annotations

import asyncio
import functools
import random
import re
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fuzz_ground import HELD, Broken, use_support
from fuzz_mutations import mutate_bytes, mutate_json

_TOKEN = "operator-token-of-fuzz-" + "x" * 40
# Path, whether the body is a query, and whether the browser has shown a licence's key.
_DOORS: tuple[tuple[str, str, bool], ...] = (
    ("/stripe-webhook", "event", False),
    ("/create-checkout-session", "body", False),
    ("/create-checkout-session", "body", True),
    ("/view-license", "body", False),
    ("/create-portal-session", "body", True),
    ("/free-machine", "body", True),
    ("/merge", "body", True),
    ("/merge", "query", True),
    ("/sign-in", "query", False),
    ("/success", "query", False),
    ("/buy", "query", False),
    ("/operator/customers", "operator", False),
    ("/operator/look", "operator", False),
    ("/operator/alarms/done", "operator", False),
    ("/operator/restore", "operator", False),
    ("/sign-out", "body", False),
)
_FORM = "application/x-www-form-urlencoded"


class _Shop:
    """The store's app without sockets of its own, and two browsers."""

    def __init__(self) -> None:
        use_support("store")
        use_support("sandbox")
        from store_server import key_on, open_store

        from shimmy_store.server.app import create_app
        from shimmy_store.wiring import open_shop

        folder = Path(HELD.enter_context(tempfile.TemporaryDirectory(prefix="shimmy-fuzz-shop-")))
        store = HELD.enter_context(open_store(folder))
        self.key = key_on(store.buy("developer", "ada@shop.example").text)
        self.settings = replace(store.settings, operator_tokens=(_TOKEN,))
        self.now = store.town.now
        self.loop = asyncio.new_event_loop()
        self.app = create_app(
            self.settings, functools.partial(open_shop, now=store.town.now), works=False
        )
        lifespan = self.app.router.lifespan_context(self.app)
        self.loop.run_until_complete(lifespan.__aenter__())
        HELD.callback(self.loop.close)
        HELD.callback(lambda: self.loop.run_until_complete(lifespan.__aexit__(None, None, None)))
        self.cookies = {kind: self.loop.run_until_complete(self._browser(kind)) for kind in (0, 1)}
        self.customer = self.loop.run_until_complete(self._customer())

    async def _browser(self, kind: int) -> tuple[dict[str, str], str]:
        """Its cookies, and the token that its forms carry."""
        async with self.client("203.0.113.1", {"Accept": "text/html"}) as client:
            page = await client.get("/pricing")
            token = re.search(r'name="csrf" value="(\w{64})"', page.text)
            if token is None:
                raise Broken("a page without a form's token")
            if kind:
                form = {"csrf": token[1], "key": self.key}
                shown = await client.post("/view-license", data=form)
                if shown.status_code != 303:
                    raise Broken(f"a good key is not taken: {shown.status_code}")
            return dict(client.cookies), token[1]

    async def _customer(self) -> str:
        async with self.client(
            "203.0.113.1", {"Accept": "application/json"}, self.cookies[1][0]
        ) as client:
            shown = await client.get("/view-license")
            return str(shown.json()["licences"][0]["customer"])

    def client(self, address: str, headers: dict[str, str], cookies: Any = None) -> Any:
        import httpx

        transport = httpx.ASGITransport(self.app, client=(address, 50_000))
        return httpx.AsyncClient(
            transport=transport, base_url=self.settings.url, headers=headers, cookies=cookies
        )


@functools.cache
def _shop() -> _Shop:
    return _Shop()


def visit_store(data: bytes) -> str:
    """A sign that names the door and how the body is sent, then the body."""
    shop, sign, body = _shop(), (data[0] if data else 0), data[1:]
    door = _DOORS[sign % len(_DOORS)]
    answer = shop.loop.run_until_complete(_send(shop, door, sign // 16, body))
    refused = door[1] == "operator" and answer.status_code == 502  # Stripe's word, told to us
    if answer.status_code >= 500 and not refused:
        raise Broken(f"{door[0]} {answer.status_code}: {answer.text[:200]}")
    if door[1] == "event" and answer.status_code == 200:
        return f"{door[0]} {answer.json()['received']} {shop.loop.run_until_complete(_sweep(shop))}"
    code = ""
    if answer.status_code >= 400:
        code = answer.json()["code"]
        if not re.fullmatch(r"[a-z][a-z0-9-]+", code):
            raise Broken("no code of ours")
    return f"{door[0]} {answer.status_code} {code}"


async def _send(shop: _Shop, door: tuple[str, str, bool], how: int, body: bytes) -> Any:
    path, kind, signed_in = door
    body = body.replace(b"cus_1", shop.customer.encode())
    chance = random.Random(body)  # noqa: S311 - somebody new each time
    address = f"198.51.{chance.randrange(256)}.{chance.randrange(256)}"
    cookies, token = shop.cookies[int(signed_in)]
    headers = {"Accept": "application/json"}
    async with shop.client(address, headers, cookies) as client:
        if kind == "query":
            query = "".join(chr(one) if 32 < one < 127 else f"%{one:02x}" for one in body[:3000])
            return await client.get(f"{path}?{query}".replace("#", "%23"))
        if kind == "event":
            signed = _signed(shop, body)
            return await client.post(path, content=body, headers={"Stripe-Signature": signed})
        if kind == "operator":
            headers = {"Authorization": f"Bearer {_TOKEN}", "Content-Type": "application/json"}
            return await client.post(path, content=body, headers=headers)
        content_type = (_FORM, "application/json", "", "multipart/form-data; boundary=x")[how % 4]
        filled = body.replace(b"TOKEN", token.encode()).replace(b"LICENCE", shop.key.encode())
        return await client.post(path, content=filled, headers={"Content-Type": content_type})


def _signed(shop: _Shop, body: bytes) -> str:
    """As Stripe signs: whatever is in the body, the signature is right."""
    import hashlib
    import hmac

    at = int(shop.now().timestamp())
    secret = shop.settings.webhook_secrets[0].encode()
    mac = hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={mac}"


async def _sweep(shop: _Shop) -> str:
    from shimmy_store.use_cases.sweep_events import sweep_events

    swept = await sweep_events(shop.app.state.shop.fulfilment, lambda: 0.5, 20)
    if swept.crashed:
        raise Broken(f"the sweeper crashed: {swept.crashed[0]}")
    return f"{min(swept.settled, 1)} {min(swept.waiting, 1)}"


def mutate_visit(
    chance: random.Random, data: bytes, others: Sequence[bytes], words: Sequence[bytes]
) -> bytes:
    """A body behind its sign: JSON in its shape, a form in its fields; now and then a new event."""
    sign = data[:1] if chance.random() < 0.9 else bytes((chance.randrange(256),))
    body = data[1:]
    if body.startswith(b"{"):
        changed = mutate_json(chance, body, others, words)
        if chance.random() < 0.7:
            # Each event counts once: without another id most would be old news.
            changed = changed.replace(b"evt_1", b"evt_%d" % chance.randrange(10**12))
        return sign + changed
    fields = body.split(b"&")
    at, how = chance.randrange(len(fields)), chance.random()
    if how < 0.2:
        fields[at:at] = [fields[at]] * chance.choice((1, 2, 60))
    elif how < 0.3:
        del fields[at]
    elif how < 0.6 and words:
        fields.insert(at, chance.choice(words) + b"=" + chance.choice(words))
    else:
        name, _, value = fields[at].partition(b"=")
        fields[at] = name + b"=" + mutate_bytes(chance, value, [value], words)
    return sign + b"&".join(fields)
