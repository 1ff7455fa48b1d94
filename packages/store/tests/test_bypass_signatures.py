"""Ways around a signature or a token by HTTP that no other file tries, each with its name.

docs/security.md lists these and the ones that stand elsewhere.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping, Sequence

import httpx
import pytest
from operating import OPERATOR_TOKEN
from store_server import Store, key_on, open_store
from town import NO_TLS
from visiting import program, signed_in

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

Headers = list[tuple[bytes, bytes]]
_WIDE = {ord(one): ord(one) + 0xFEE0 for one in "0123456789abcdef"}
NO_SIGN = "0" * 64


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("store")
    with open_store(folder, operator_tokens=(OPERATOR_TOKEN,)) as opened:
        opened.visitor().open("/cancel")  # The ledger's tables come with the first request.
        yield opened


@pytest.fixture(autouse=True)
def _a_new_period(store: Store) -> None:
    store.town.pass_time(minutes=10)


# From the seconds and the hexadecimal signature to the headers that are sent.
SIGNATURES: Mapping[str, Callable[[int, str], Sequence[str]]] = {
    "no header": lambda t, sign: [],
    "an empty header": lambda t, sign: [""],
    "another scheme": lambda t, sign: [f"Bearer {sign}"],
    "a signature alone": lambda t, sign: [f"v1={sign}"],
    "v0 only": lambda t, sign: [f"t={t},v0={sign}"],
    "v2 only": lambda t, sign: [f"t={t},v2={sign}"],
    "a time five minutes and a second ago": lambda t, sign: [f"t={t - 301},v1={sign}"],
    "a time to come": lambda t, sign: [f"t={t + 100_000},v1={sign}"],
    "two times": lambda t, sign: [f"t={t - 9999},t={t},v1={sign}"],
    "a time of another alphabet": lambda t, sign: [f"t=\u0661\u0662\u0663,v1={sign}"],
    "a negative time": lambda t, sign: [f"t=-{t},v1={sign}"],
    "a time with a sign": lambda t, sign: [f"t=+{t},v1={sign}"],
    "a time with a fraction": lambda t, sign: [f"t={t}.0,v1={sign}"],
    "a time beyond any year": lambda t, sign: [f"t={'9' * 12},v1={sign}"],
    "another time than was signed": lambda t, sign: [f"t={t - 1},v1={sign}"],
    "capitals": lambda t, sign: [f"t={t},v1={sign.upper()}"],
    "a capital name": lambda t, sign: [f"t={t},V1={sign}"],
    "a signature of one sign less": lambda t, sign: [f"t={t},v1={sign[:-1]}"],
    "a signature of one sign more": lambda t, sign: [f"t={t},v1={sign}0"],
    "letters of full width": lambda t, sign: [f"t={t},v1={sign.translate(_WIDE)}"],
    "semicolons between": lambda t, sign: [f"t={t};v1={sign}"],
    "nothing between": lambda t, sign: [f"t={t} v1={sign}"],
    "quotes around": lambda t, sign: [f't="{t}",v1="{sign}"'],
    "a wrong header before the right one": lambda t, sign: [
        f"t={t},v1={one}" for one in (NO_SIGN, sign)
    ],
    "a time here and a signature there": lambda t, sign: [f"t={t}", f"v1={sign}"],
    "twenty wrong ones before the right one": lambda t, sign: [
        f"t={t}," + ",".join([f"v1={NO_SIGN}"] * 20) + f",v1={sign}"
    ],
}  # fmt: skip


def event(store: Store, number: str) -> bytes:
    written = {
        "id": f"evt_bypass_{number}",
        "type": "payout.created",
        "created": int(store.town.now().timestamp()),
        "livemode": False,
        "data": {"object": {"object": "payout", "id": "po_1"}},
    }
    return json.dumps(written).encode()


def signature(store: Store, signed: bytes, secret: str = "") -> str:
    key = secret or store.settings.webhook_secrets[0]
    return hmac.new(key.encode(), signed, hashlib.sha256).hexdigest()


def deliver(store: Store, body: bytes, written: Sequence[str], *more: tuple[bytes, bytes]) -> int:
    headers: Headers = [(b"Stripe-Signature", one.encode()) for one in written]
    with program(store) as client:
        return client.post("/stripe-webhook", content=body, headers=[*headers, *more]).status_code


@pytest.mark.parametrize("name", SIGNATURES)
def test_no_shape_of_the_signature_stands_for_the_right_one(store: Store, name: str) -> None:
    body, at = event(store, name), int(store.town.now().timestamp())
    sign = signature(store, f"{at}.".encode() + body)
    before = store.town.ask("take_stock").events
    assert deliver(store, body, SIGNATURES[name](at, sign)) == 400
    assert store.town.ask("take_stock").events == before
    assert deliver(store, body, [f"t={at},v1={sign}"]) == 200, "the witness signs as Stripe does"


def test_no_other_bytes_stand_for_the_signed_ones(store: Store) -> None:
    body, at = event(store, "bytes"), int(store.town.now().timestamp())
    right = f"t={at},v1={signature(store, f'{at}.'.encode() + body)}"
    others = {
        "a space behind": body + b" ",
        "a line feed behind": body + b"\n",
        "a byte order mark before": b"\xef\xbb\xbf" + body,
        "an escape for a letter": body.replace(b"payout", b"p\\u0061yout"),
        "another order": json.dumps(dict(reversed(json.loads(body).items()))).encode(),
        "a second body behind": body + body,
        "nothing": b"",
        "the same, compressed": gzip.compress(body),
        "a letter that looks alike": body.replace(b"payout", "p\u0430yout".encode()),
    }
    for name, other in others.items():
        more = [(b"Content-Encoding", b"gzip")] if "compressed" in name else []
        assert deliver(store, other, [right], *more) == 400, name
    whole, secret = f"{at}.".encode() + body, store.settings.webhook_secrets[0]
    for name, wrong in {
        "under no secret": hmac.new(b"", whole, hashlib.sha256).hexdigest(),
        "without the time": signature(store, body),
        "under the secret's own bytes": signature(store, whole, secret[6:]),
        "by a plain digest": hashlib.sha256(whole).hexdigest(),
        "of the session's secret": signature(store, whole, store.settings.secrets[0]),
    }.items():  # fmt: skip
        assert deliver(store, body, [f"t={at},v1={wrong}"]) == 400, name


OPERATORS: dict[str, Headers] = {
    "no header": [],
    "the token as a password": [
        (b"Authorization", b"Basic " + base64.b64encode(f":{OPERATOR_TOKEN}".encode()))
    ],
    "the token as a cookie": [(b"Cookie", f"token={OPERATOR_TOKEN}".encode())],
    "the token under another name": [(b"X-Api-Key", OPERATOR_TOKEN.encode())],
    "the token in Proxy-Authorization": [
        (b"Proxy-Authorization", f"Bearer {OPERATOR_TOKEN}".encode())
    ],
    "a wrong one before the right one": [
        (b"Authorization", b"Bearer x"),
        (b"Authorization", f"Bearer {OPERATOR_TOKEN}".encode()),
    ],
    "two spaces": [(b"Authorization", f"Bearer  {OPERATOR_TOKEN}".encode())],
    "a NUL that is written out": [(b"Authorization", f"Bearer {OPERATOR_TOKEN}%00".encode())],
    "letters of full width": [
        (b"Authorization", b"Bearer " + OPERATOR_TOKEN.translate(_WIDE).encode())
    ],
    "from the store's own machine, it says": [
        (b"X-Forwarded-For", b"127.0.0.1"),
        (b"X-Real-IP", b"127.0.0.1"),
        (b"Forwarded", b"for=127.0.0.1"),
    ],
    "the metrics' token": [(b"Authorization", b"Bearer a-metrics-token-of-tests")],
}


@pytest.mark.parametrize("name", OPERATORS)
def test_nothing_but_the_operators_header_opens_its_addresses(store: Store, name: str) -> None:
    with program(store) as client:
        for way, path in (
            ("GET", "alarms"),
            ("GET", "dump"),
            ("POST", "erase"),
            ("POST", "restore"),
        ):
            answer = client.request(way, f"/operator/{path}", headers=OPERATORS[name])
            assert (answer.status_code, answer.json()["code"]) == (401, "operator-refused"), path
    tokens = f"token={OPERATOR_TOKEN}&access_token={OPERATOR_TOKEN}"
    assert (
        httpx.get(
            f"{store.url}/operator/alarms?{tokens}", trust_env=False, verify=NO_TLS
        ).status_code
        == 401
    )


def test_the_operators_token_is_nobodys_session_and_the_other_way_round(
    store: Store,
) -> None:
    key = key_on(store.buy("developer", "own@example.com").text)
    session = signed_in(store, key).client.cookies["shimmy-session"]
    with program(store, Authorization=f"Bearer {session}") as client:
        assert client.get("/operator/alarms").status_code == 401
    with program(store, Authorization=f"Bearer {OPERATOR_TOKEN}") as client:
        assert client.get("/view-license").status_code == 401
