"""What the product and its licence server say to each other, written down and played again.

``contracts/wire/licensing-N.json`` has one conversation of an edition of the wire: each request
with what was answered, and what the product made of it. ``record`` makes one anew with the
sandbox's keys and fixed clock, ids and nonces; ``play`` answers today's product from one;
``send_again`` sends today's server what was sent then.
"""

from __future__ import annotations

import json
import secrets
import socket
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias
from unittest.mock import patch

import httpx
from licence_world import PLANS, REPOSITORY, Shop, Sold
from stranger import Heard, strangers

from shimmy_sandbox.keygen import shop as keygen_shop
from shimmy_sandbox.keygen.server import serve_keygen
from shimmy_sandbox.simulation.controls import Controls
from shimmy_vision import __version__
from shimmy_vision.adapters.licence.keygen_licences import KeygenLicences
from shimmy_vision.adapters.licence.signed_exchange import SignedExchange
from shimmy_vision.domain.licence.certificate import LicenceProof, open_machine_file
from shimmy_vision.domain.licence.pinned import PINNED
from shimmy_vision.errors import LicenceServerError
from shimmy_vision.ports.licence_server import LicenceServer, MachineToActivate

FOLDER = REPOSITORY / "contracts/wire"
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
NONCE = 4503599627370495
MINE, OTHER = "5a" * 32, "6b" * 32
# No real key has such a shape; whoever looks for keys finds none here.
KEY, UNENTITLED, GONE = ("made-up-licence", "made-up-licence-of-nothing", "made-up-licence-gone")
DAY = timedelta(days=1)
# What the other side looks at; the rest belongs to the connection, or changes each time.
_SENT = (
    *("accept", "accept-encoding", "authorization", "content-type", "keygen-version"),
    "user-agent",
)
_ANSWERED = (
    *("content-type", "date", "digest", "keygen-date", "keygen-digest", "keygen-signature"),
    *("keygen-version", "retry-after"),
)

Json: TypeAlias = dict[str, Any]
Ids: TypeAlias = Mapping[str, str]
Call: TypeAlias = Callable[[LicenceServer, Ids], object]
Act: TypeAlias = Callable[[Shop, Sold], object]


def _nothing(_shop: Shop, _sold: Sold) -> None:
    """The server stays as it is."""


def _machine(ids: Ids, fingerprint: str = MINE) -> MachineToActivate:
    return MachineToActivate(ids["licence"], fingerprint, "a name", "Linux test")


def _without_entitlement(shop: Shop, _sold: Sold) -> None:
    shop.sell("startup", key=UNENTITLED)
    path = f"policies/{keygen_shop.policy_id('startup')}/entitlements"
    data = [{"type": "entitlements", "id": keygen_shop.entitlement_id("vision")}]
    content = json.dumps({"data": data})
    headers = {"Content-Type": "application/vnd.api+json"}
    shop.admin.request("DELETE", path, content=content, headers=headers).raise_for_status()


def _sell_and_delete(shop: Shop, _sold: Sold) -> None:
    gone = shop.sell("professional", key=GONE)
    shop.admin.delete(f"licenses/{gone.id}").raise_for_status()


def _expire(shop: Shop, sold: Sold) -> None:
    shop.act(sold, "reinstate")
    shop.clock.freeze(NOON + timedelta(days=60))


def _fail(status: int, path: str) -> Act:
    return lambda shop, _sold: shop.fault("status", path, status=status)


STEPS: tuple[tuple[str, Act, Call], ...] = (
    ("validate-unknown", _nothing, lambda one, _: one.validate("made-up-by-nobody", MINE)),
    ("validate-not-activated", _nothing, lambda one, _: one.validate(KEY, MINE)),
    ("activate", _nothing, lambda one, ids: one.activate(KEY, _machine(ids))),
    ("validate", _nothing, lambda one, _: one.validate(KEY, MINE)),
    ("activate-again", _nothing, lambda one, ids: one.activate(KEY, _machine(ids))),
    ("activate-too-many", _nothing, lambda one, ids: one.activate(KEY, _machine(ids, OTHER))),
    ("validate-other-machine", _nothing, lambda one, _: one.validate(KEY, OTHER)),
    ("machines", _nothing, lambda one, _: one.machines(KEY)),
    ("check-out", _nothing, lambda one, _: one.check_out(KEY, MINE, DAY)),
    ("check-out-other-machine", _nothing, lambda one, _: one.check_out(KEY, OTHER, DAY)),
    ("read", _nothing, lambda one, _: one.read(KEY)),
    ("increment", _nothing, lambda one, ids: one.increment(KEY, ids["licence"], 3)),
    ("increment-too-many", _nothing, lambda one, ids: one.increment(KEY, ids["licence"], 2500)),
    ("server-fails", _fail(503, "/me"), lambda one, _: one.read(KEY)),
    ("server-is-busy", _fail(429, "/me"), lambda one, _: one.read(KEY)),
    (
        "validate-suspended",
        lambda shop, sold: shop.act(sold, "suspend"),
        lambda one, _: one.validate(KEY, MINE),
    ),
    ("check-out-suspended", _nothing, lambda one, _: one.check_out(KEY, MINE, DAY)),
    ("increment-suspended", _nothing, lambda one, ids: one.increment(KEY, ids["licence"], 1)),
    (
        "validate-expired",
        _expire,
        lambda one, _: one.validate(KEY, MINE),
    ),
    ("check-out-expired", _nothing, lambda one, _: one.check_out(KEY, MINE, DAY)),
    ("read-expired", _nothing, lambda one, _: one.read(KEY)),
    ("increment-expired", _nothing, lambda one, ids: one.increment(KEY, ids["licence"], 1)),
    ("deactivate", _nothing, lambda one, ids: one.deactivate(KEY, ids["machine"])),
    ("deactivate-again", _nothing, lambda one, ids: one.deactivate(KEY, ids["machine"])),
    (
        "validate-without-entitlement",
        _without_entitlement,
        lambda one, _: one.validate(UNENTITLED, MINE),
    ),
    ("read-deleted", _sell_and_delete, lambda one, _: one.read(GONE)),
)


def editions() -> list[Path]:
    """Every edition that is kept, the oldest first."""
    return sorted(FOLDER.glob("licensing-*.json"), key=lambda one: int(one.stem.partition("-")[2]))


def record() -> Json:
    """A conversation of today's product with today's sandbox; the same each time."""
    with _told_server() as (shop, sold), ExitStack() as stack:
        said: list[Json] = []
        client = stack.enter_context(_plain_client(shop))
        answer = partial(_pass_on, client, said)
        stranger = stack.enter_context(strangers(answer))
        ids = {"licence": sold.id, "machine": ""}
        steps = []
        for name, act, call in STEPS:
            act(shop, sold)
            begun, at = len(said), shop.clock.now()
            understood = _understood(call, _server(stranger.url, at), ids)
            if name == "activate":
                ids["machine"] = understood["id"]
            shop.heal()
            step = {"step": name, "at": at.isoformat(), "exchanges": said[begun:]}
            steps.append({**step, "understood": understood})
        about = "A client and the sandbox's licence server; scripts/make_wire_samples.py writes it."
        return {"about": about, "ids": ids, "steps": steps}


def play(edition: Json) -> list[tuple[str, list[Json], Json]]:
    """Step by step: what today's product sends to whoever answers so, and what it makes of it."""
    told, left, sent = [], list[Json](), list[Json]()
    calls = {name: call for name, _act, call in STEPS}

    def answer(connection: socket.socket, heard: Heard) -> None:
        sent.append(_request(heard))
        if left:
            connection.sendall(_raw(left.pop(0)["response"]))

    with strangers(answer) as stranger, patch.object(secrets, "randbits", lambda _bits: NONCE):
        for step in edition["steps"]:
            sent.clear()
            left[:] = step["exchanges"]
            server = _server(stranger.url, datetime.fromisoformat(step["at"]))
            understood = _understood(calls[step["step"]], server, edition["ids"])
            told.append((step["step"], list(sent), understood))
    return told


def send_again(edition: Json) -> list[tuple[str, Json, Json]]:
    """Step by step: what was answered then, and what today's server answers to the same words."""
    told, acts = [], {name: act for name, act, _call in STEPS}
    with _told_server() as (shop, sold), _plain_client(shop) as client:
        for step in edition["steps"]:
            acts[step["step"]](shop, sold)
            for one in step["exchanges"]:
                asked = one["request"]
                content = None if asked["body"] is None else json.dumps(asked["body"]).encode()
                reply = client.request(
                    asked["method"], asked["target"], headers=asked["headers"], content=content
                )
                told.append((step["step"], one["response"], _response(reply)))
            shop.heal()
    return told


@contextmanager
def _told_server() -> Iterator[tuple[Shop, Sold]]:
    """A server on which clock, ids and nonces are the same each time."""
    numbers, nonces = count(1), count(1)
    # Servers of other tests, open beside this one, get what is random, and count nothing.
    others = set(threading.enumerate()) - {threading.current_thread()}
    with ExitStack() as stack:
        for place, name, new in (
            (uuid, "uuid4", lambda: uuid.UUID(int=next(numbers), version=4)),
            (secrets, "token_bytes", lambda size: next(nonces).to_bytes(size)),
            (secrets, "randbits", lambda _bits: NONCE),
        ):
            only_ours = partial(_not_for, others, getattr(place, name), new)
            stack.enter_context(patch.object(place, name, only_ours))
        controls = Controls()
        controls.clock.freeze(NOON)
        server = stack.enter_context(serve_keygen(":memory:", controls=controls))
        keygen_shop.stock_shop(server, PLANS)
        base = f"{server.url}/v1/accounts/{server.account}/"
        headers = {"Authorization": f"Bearer {server.admin_token}"}
        admin = httpx.Client(base_url=base, headers=headers, trust_env=False)
        shop = Shop(server, stack.enter_context(admin))
        yield shop, shop.sell("developer", key=KEY)


def _not_for(
    others: set[threading.Thread], real: Callable[..., Any], new: Callable[..., Any], *given: Any
) -> Any:
    return (real if threading.current_thread() in others else new)(*given)


def _plain_client(shop: Shop) -> httpx.Client:
    """Adds nothing of its own to what is sent."""
    client = httpx.Client(base_url=shop.server.url, trust_env=False)
    client.headers.clear()
    return client


def _server(url: str, at: datetime) -> KeygenLicences:
    exchange = SignedExchange(url, PINNED.account, PINNED.public_key, now=lambda: at, timeout=20)
    return KeygenLicences(exchange, PINNED.product)


def _understood(call: Call, server: KeygenLicences, ids: Ids) -> Json:
    try:
        found = call(server, ids)
    except LicenceServerError as error:
        return {"error": error.code, "retry_after": error.retry_after}
    finally:
        server.close()
    if isinstance(found, str):
        found = open_machine_file(
            found, licence_key=KEY, fingerprint=MINE, public_key=PINNED.public_key
        )
        assert isinstance(found, LicenceProof), found
    if is_dataclass(found) and not isinstance(found, type):
        found = {"is": type(found).__name__, **asdict(found)}
    if isinstance(found, tuple):
        found = {"is": "tuple", "of": [asdict(one) for one in found]}
    shown = found if isinstance(found, dict) else {"is": found}
    read: Json = json.loads(json.dumps(shown, default=str))
    return read


def _pass_on(
    client: httpx.Client, said: list[Json], connection: socket.socket, heard: Heard
) -> None:
    kept = {name: value for name, value in heard.headers.items() if name.lower() in _SENT}
    content = heard.body or None
    reply = client.request(heard.method, heard.target, headers=kept, content=content)
    said.append({"request": _request(heard), "response": _response(reply)})
    connection.sendall(_raw(said[-1]["response"]))


def _request(heard: Heard) -> Json:
    headers = {name.lower(): value for name, value in heard.headers.items()}
    kept = {name: headers[name] for name in _SENT if name in headers}
    kept["user-agent"] = kept["user-agent"].replace(__version__, "*")
    body = json.loads(heard.body) if heard.body else None
    return {"method": heard.method, "target": heard.target, "headers": kept, "body": body}


def _response(reply: httpx.Response) -> Json:
    kept = {name: reply.headers[name] for name in _ANSWERED if name in reply.headers}
    body = _body(reply.content)
    # What is signed is the text: it must come back out of what is written down.
    assert _text(body) == reply.content
    return {"status": reply.status_code, "headers": kept, "body": body}


def _body(text: bytes) -> Any:
    """What the JSON says; another text as it stands, and none as null."""
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text.decode()


def _text(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode()
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _raw(response: Json) -> bytes:
    text = _text(response["body"])
    lines = [f"HTTP/1.1 {response['status']} As Recorded"]
    lines += [f"{name}: {value}" for name, value in response["headers"].items()]
    lines += [f"content-length: {len(text)}", "connection: close", "", ""]
    return "\r\n".join(lines).encode() + text
