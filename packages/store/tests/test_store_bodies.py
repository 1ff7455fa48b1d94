"""Requests that are too long, too slow, broken or astray: a clear answer, and nothing of ours."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from store_server import SECRET, Store, eventually, key_on
from town import NO_TLS
from visiting import POSTS, Door, at_door, form_token, program, send_raw, signed_in

from shimmy_sandbox.simulation.faults import Fault
from shimmy_sandbox.simulation.loopback import serve_on_loopback
from shimmy_store.server.guard import Guard
from shimmy_store.server.meters import Meters

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PAGE = {"Accept": "text/html"}
MOST, MOST_OF_AN_EVENT = 64 * 1024, 2 * 1024 * 1024


@pytest.fixture(autouse=True)
def _a_new_period(store: Store) -> None:
    store.town.pass_time(minutes=10)


def code_of(answer: httpx.Response) -> str:
    """The code of a problem as RFC 9457 has it, or of the page that tells people of one."""
    if answer.headers["content-type"] == "application/problem+json":
        told = answer.json()
        assert told["status"] == answer.status_code
        assert told["type"] == f"urn:shimmy:problem:{told['code']}"
        assert told["title"]
        assert told["detail"].endswith(".")
        assert set(told) <= {"type", "title", "status", "detail", "code", "hint"}
        return str(told["code"])
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.request.headers["accept"] == "text/html"
    found = re.search(r"(\d{3}) · ([a-z-]+)<", answer.text)
    assert found
    assert found[1] == str(answer.status_code)
    assert "<h1>" in answer.text
    return found[2]


def test_a_body_that_is_too_long_is_not_read(store: Store) -> None:
    with program(store) as client:
        for path in POSTS:
            long = client.post(path, content=b"x" * (MOST + 1), headers=JSON)
            assert (long.status_code, code_of(long)) == (413, "body-too-large")
        page = client.post("/view-license", content=b"x" * (MOST + 1), headers={**FORM, **PAGE})
        assert (page.status_code, code_of(page)) == (413, "body-too-large")
        enough = json.dumps({"key": "x" * (MOST - 20)}).encode()
        assert client.post("/view-license", content=enough, headers=JSON).status_code == 404


def test_a_body_without_a_length_is_counted_as_it_comes(store: Store) -> None:
    def pieces(count: int) -> Iterator[bytes]:
        for _ in range(count):
            yield b" " * 8192

    with program(store) as client:
        long = client.post("/view-license", content=pieces(9), headers=JSON)
        assert (long.status_code, code_of(long)) == (413, "body-too-large")
        short = client.post("/view-license", content=pieces(8), headers=JSON)
        assert (short.status_code, code_of(short)) == (400, "body-malformed")
    head = b"POST /view-license HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n"
    endless = [b"2000\r\n" + b" " * 8192 + b"\r\n"] * 64
    answer = send_raw(store.url, head + chunked, *endless)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_an_event_may_be_longer_but_not_endless(store: Store) -> None:
    with program(store) as client:
        heard = client.post("/stripe-webhook", content=b" " * MOST_OF_AN_EVENT)
        assert (heard.status_code, code_of(heard)) == (400, "event-refused")
        long = client.post("/stripe-webhook", content=b" " * (MOST_OF_AN_EVENT + 1))
        assert (long.status_code, code_of(long)) == (413, "body-too-large")


@contextmanager
def impatient(store: Store, patience: float = 0.5) -> Iterator[str]:
    """The guard before a page that reads its body, with so many seconds of patience."""

    async def read(request: Request) -> Response:
        return Response(await request.body())

    guard = Middleware(Guard, settings=store.settings, meters=Meters(), patience=patience)
    app = Starlette(routes=[Route("/", read, methods=["POST"])], middleware=[guard])
    with serve_on_loopback(app) as served:
        yield served.url


def test_a_body_that_is_too_slow_is_not_waited_for(store: Store) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
    with impatient(store) as url:
        began = time.monotonic()
        silent = send_raw(url, head + b"\r\n")
        # The guard's usual patience is half a minute.
        assert 0.4 < time.monotonic() - began < 9, "and the connection is closed"
        page = send_raw(url, head + b"Accept: text/html\r\n\r\nabc")
    # Half a second may be over before a busy machine has read it.
    with impatient(store, 10) as url:
        fast = httpx.post(url, content=b"abc", trust_env=False, verify=NO_TLS)
    assert silent.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in silent
    assert b'"body-too-slow"' in silent
    assert page.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive in time" in page
    assert b"text/html" in page
    assert fast.text == "abc"


def test_a_byte_now_and_then_does_not_buy_more_time(store: Store) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    with impatient(store) as url:
        began = time.monotonic()
        answer = send_raw(url, head, *[b"x"] * 600, pause=lambda: time.sleep(0.05))
    assert answer.startswith(b"HTTP/1.1 408 ") or not answer
    assert time.monotonic() - began < 15, "all of them would take half a minute"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b'"text"',
        b"[]",
        b"null",
        b"NaN",
        b'{"key": 1}',
        b'{"key": null}',
        b'{"key": ["x"]}',
        b'{"email": {"$ne": ""}}',
        b'{"key": "\\ud800"}',
        b'{"email": "\\udfffx@example.com"}',
        b'{"email": "a@example.com", "attempt": "\\ud800"}',
        b"\xff\xfe\x00",
        b'{"key": "\xff"}',
        b"[" * 60_000,
        b'{"a":' * 12_000,
        b'{"key": ' + b"9" * 5000 + b"}",
        b"{'key': 'x'}",
    ],
    ids=lambda body: repr(body[:30]),
)
def test_what_is_no_object_of_texts_is_refused(store: Store, body: bytes) -> None:
    visitor = store.visitor()
    visitor.open("/pricing")
    for path in POSTS:
        answer = visitor.client.post(path, content=body, headers={**JSON, "Accept": "*/*"})
        assert (answer.status_code, code_of(answer)) == (400, "body-malformed")
    page = visitor.client.post("/view-license", content=body, headers=JSON)
    assert (page.status_code, code_of(page)) == (400, "body-malformed")


def test_forms_that_are_none(store: Store) -> None:
    visitor = store.visitor()
    token = form_token(visitor)
    many = "&".join(f"a{number}=1" for number in range(60))
    for body, status, code in (
        (f"csrf={token}&{many}", 400, "body-malformed"),
        (f"csrf={token}", 422, "fields-missing"),
        (f"csrf={token}&key=+&email=%20", 422, "fields-missing"),
        (f"csrf={token}&email=%FF%FE@%00", 422, "address-malformed"),
        (f"csrf={token}&key=%ED%A0%80", 404, "key-unknown"),
        (f"{token}", 403, "form-expired"),
        (f"csrf={token};key=x", 403, "form-expired"),
        (f"csrf={token}&csrf=x", 403, "form-expired"),
    ):
        answer = visitor.client.post("/view-license", content=body.encode(), headers=FORM)
        assert (answer.status_code, code_of(answer)) == (status, code), body


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "image/png"])
def test_a_media_type_that_is_none_of_ours(store: Store, kind: str) -> None:
    with program(store) as client:
        for accept in ({}, PAGE):
            headers = {"Content-Type": kind, **accept}
            answer = client.post("/view-license", content=b"--x--", headers=headers)
            assert (answer.status_code, code_of(answer)) == (415, "media-unknown")


def test_a_method_that_an_address_does_not_have(store: Store) -> None:
    with program(store) as client:
        for accept in ({}, PAGE):
            for method, path, allowed in (
                ("DELETE", "/view-license", {"GET", "HEAD"}),
                ("GET", "/create-checkout-session", {"POST"}),
                ("GET", "/sign-out", {"POST"}),
                ("PATCH", "/pricing", {"GET", "HEAD"}),
                ("TRACE", "/health", {"GET", "HEAD"}),
                ("BREW", "/metrics", {"GET", "HEAD"}),
                ("GET", "/stripe-webhook", {"POST"}),
            ):
                answer = client.request(method, path, headers=accept)
                assert (answer.status_code, code_of(answer)) == (405, "method-unknown")
                assert allowed <= {one.strip() for one in answer.headers["allow"].split(",")}


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/pricing/",
        "/VIEW-LICENSE",
        "/assets/x/nothing",
        "/%00",
        "/%FF",
        "/..%2f..",
        "/;",
    ],
)
def test_an_address_that_leads_nowhere(store: Store, path: str) -> None:
    with program(store) as client:
        for accept in ({}, PAGE):
            answer = client.get(path, headers=accept)
            assert (answer.status_code, code_of(answer)) == (404, "page-unknown")


def assert_tells_nothing(store: Store, answer: httpx.Response, *secrets: str) -> None:
    text = f"{answer.text} {answer.headers}"
    for word in ("Traceback", 'File "', ".py", "sqlite", "fault on request", SECRET, *secrets):
        assert word not in text
    for value in (store.settings.stripe_key, store.settings.keygen_token, str(store.town.ledger)):
        assert value not in text


@pytest.mark.parametrize(
    ("side", "status"),
    [
        ("payments", 400),
        ("payments", 401),
        ("payments", 503),
        ("keygen", 401),
        ("keygen", 403),
        ("keygen", 409),
        ("keygen", 429),
        ("keygen", 500),
    ],
)
def test_what_others_say_when_they_fail_is_not_repeated(
    store: Store, side: str, status: int
) -> None:
    visitor = store.visitor()
    key = key_on(store.buy("developer", f"{side}-{status}@example.com", visitor).text)
    token = form_token(visitor)
    simulator: Any = getattr(store.town, side)
    simulator.controls.faults.add(Fault("status", path="/v1/", times=-1, status=status))
    try:
        sent = {"csrf": token}
        answers = [
            visitor.client.get("/view-license"),
            visitor.client.get("/buy?plan=startup"),
            visitor.client.post("/view-license", data={**sent, "key": key}),
        ]
        visitor.client.headers["Accept"] = "*/*"
        answers += [
            visitor.client.post("/create-portal-session", data=sent),
            visitor.client.post("/free-machine", data={**sent, "machine": "0" * 36}),
        ]
    finally:
        simulator.controls.faults.clear()
    failed = [one for one in answers if one.status_code >= 500]
    assert len({one.headers["content-type"] for one in failed}) == 2
    for answer in failed:
        assert answer.status_code in (502, 503)
        assert code_of(answer).startswith(("payments-", "licensing-"))
        assert "Nothing is lost" in answer.text
        assert answer.headers["retry-after"]
        assert_tells_nothing(store, answer)
        assert not re.search(r"stripe (answers|refuses|was)|keygen", answer.text, re.I)


def test_a_bug_of_ours_is_told_without_what_it_was(store: Store) -> None:
    key = key_on(store.buy("developer", "crash@example.com").text)

    class Broken:
        async def find_key(self, key: str) -> None:
            raise RuntimeError(f"no such key {key} in /srv/store/ledger.py")

    async def ask(door: Door) -> list[httpx.Response]:
        door.app.state.shop = replace(door.app.state.shop, holdings=Broken())
        async with door.visitor() as visitor:
            sent = {"key": key}
            return [
                await visitor.post("/view-license", json=sent),
                await visitor.post("/view-license", json=sent, headers=PAGE),
            ]

    for answer in at_door(store, ask):
        assert (answer.status_code, code_of(answer)) == (500, "crashed")
        assert_tells_nothing(store, answer, key, "RuntimeError", "/srv")
        assert answer.headers["x-frame-options"] == "DENY"


def test_a_visitor_who_leaves_in_the_middle_of_a_form_is_no_error(store: Store) -> None:
    head = b"POST /view-license HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc"
    port = urlsplit(store.url).port or 0
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port)) as line:
            line.sendall(head)
    with program(store) as client:
        left = 'endpoint="prove_licence",status="499"} 3.0'
        eventually(lambda: left in client.get("/metrics").text)


def test_signed_in_visitors_are_answered_the_same_way(store: Store) -> None:
    key = key_on(store.buy("developer", "inside@example.com").text)
    visitor = signed_in(store, key)
    answer = visitor.open("/nowhere")
    assert (answer.status_code, code_of(answer)) == (404, "page-unknown")
    assert key not in answer.text
