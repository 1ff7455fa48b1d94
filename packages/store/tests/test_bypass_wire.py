"""Ways around the store that begin below HTTP: bytes on a real line to the server it runs on.

What is tried: that the store takes another request out of the bytes than a proxy before it would
(smuggling), that a header is hidden or made up, that a line is held for nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from real_line import Line, real_line
from store_server import Store

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

HEAD_SECONDS = 1.5
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
JSON = b"Content-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.fixture(scope="module")
def line(store: Store) -> Iterator[Line]:
    with real_line(store) as opened:
        yield opened


@pytest.fixture(scope="module")
def impatient(store: Store) -> Iterator[Line]:
    """As ``line``, with a second and a half for a head instead of fifteen."""
    with real_line(store, HEAD_SECONDS) as opened:
        yield opened


def post(headers: bytes, rest: bytes, *, version: bytes = b"1.1") -> bytes:
    """A request to a page that reads its body, and what comes after its head."""
    return b"POST /view-license HTTP/%b\r\nHost: x\r\n%b%b\r\n%b" % (version, JSON, headers, rest)


def get(headers: bytes, target: bytes = b"/cancel") -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (target, headers)


LENGTH = len(SMUGGLED)
REFUSED = {
    "a length and chunks, which agree": post(
        b"Content-Length: 5\r\n" + CHUNKED, b"0\r\n\r\n" + SMUGGLED
    ),
    "chunks and a length, which agree": post(
        CHUNKED + b"Content-Length: 5\r\n", b"0\r\n\r\n" + SMUGGLED
    ),
    "a length that covers the smuggled request, and chunks that do not": post(
        b"Content-Length: %d\r\n" % (LENGTH + 5) + CHUNKED, b"0\r\n\r\n" + SMUGGLED
    ),
    "a length in a folded line, and chunks": post(
        b"Content-Length:\r\n 5\r\n" + CHUNKED, b"0\r\n\r\n" + SMUGGLED
    ),
    "two lengths that differ": post(
        b"Content-Length: 0\r\nContent-Length: %d\r\n" % LENGTH, SMUGGLED
    ),
    "two lengths that differ, in one line": post(b"Content-Length: 0, %d\r\n" % LENGTH, SMUGGLED),
    "a length with a sign": post(b"Content-Length: +0\r\n", SMUGGLED),
    "a negative length": post(b"Content-Length: -1\r\n", SMUGGLED),
    "a length in hexadecimal": post(b"Content-Length: 0x0\r\n", SMUGGLED),
    "a length with an underscore": post(b"Content-Length: 0_0\r\n", SMUGGLED),
    "a length of another alphabet's digits": post(
        "Content-Length: \u0660\r\n".encode(), SMUGGLED
    ),
    "a length with a space before its colon": post(b"Content-Length : 0\r\n", SMUGGLED),
    "chunks under a name that only looks like it": post(
        b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n" + SMUGGLED
    ),
    "chunks, twice": post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
    "chunks, then identity": post(
        CHUNKED + b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n" + SMUGGLED
    ),
    "compressed chunks": post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
    "chunks with a space before the colon": post(
        b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n" + SMUGGLED
    ),
    "chunks with a vertical tab": post(
        b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n" + SMUGGLED
    ),
    "a chunk's size with a sign": post(CHUNKED, b"+2\r\n{}\r\n0\r\n\r\n" + SMUGGLED),
    "a chunk's size with 0x": post(CHUNKED, b"0x2\r\n{}\r\n0\r\n\r\n" + SMUGGLED),
    "a chunk's size that is no number": post(CHUNKED, b"zz\r\n{}\r\n0\r\n\r\n" + SMUGGLED),
    "a chunk's size beyond any number": post(CHUNKED, b"F" * 40 + b"\r\n" + SMUGGLED),
    "a chunk that does not end where it says": post(CHUNKED, b"2\r\n{}YY0\r\n\r\n" + SMUGGLED),
    "an extension with a bare line feed": post(CHUNKED, b"2;a\n{}\r\n0\r\n\r\n" + SMUGGLED),
    "a header's value with a bare carriage return": get(b"X: y\rAuthorization: Bearer z\r\n"),
    "a header's value with a NUL": get(b"X: y\x00z\r\n"),
    "a header without a name": get(b": y\r\n"),
    "a header's name with a space in it": get(b"X y: z\r\n"),
    "a folded line before all headers": b"GET /cancel HTTP/1.1\r\n X: y\r\nHost: x\r\n\r\n",
    "no host": b"GET /cancel HTTP/1.1\r\n\r\n",
    "two hosts": get(b"Host: evil.example\r\n"),
    "a target with a space in it": get(b"", b"/cancel /smuggled"),
    "a target with a control sign in it": get(b"", b"/cancel\x01"),
    "a target beyond ASCII": get(b"", "/cancelé".encode()),
    "HTTP/0.9": b"GET /cancel\r\n\r\n",
    "TLS on the plain line": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\n",
    "empty lines before the request": b"\r\n\r\n" + get(b""),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_be_read_in_two_ways_is_refused_and_ends_the_line(line: Line, name: str) -> None:
    heard = line.say(REFUSED[name])
    assert heard.statuses == (400,), heard
    assert heard.closed
    assert [one for one in heard.seen if one.path == "/smuggled"] == []
    # What the app never sees it cannot have acted on; the rest was refused by the guard.
    assert len(heard.seen) <= 1


READ_ONE_WAY = {
    "the same length twice": (post(b"Content-Length: 2\r\nContent-Length: 2\r\n", b"{}"), 422),
    "chunks in a folded line": (post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"), 400),
    "chunks with extensions": (post(CHUNKED, b'2;a=b;c="d"\r\n{}\r\n0;e\r\n\r\n'), 422),
    "chunks with an extension of sixty thousand signs": (
        post(CHUNKED, b"2;" + b"a" * 60_000 + b"\r\n{}\r\n0\r\n\r\n"),
        422,
    ),
    "headers behind the chunks": (
        post(CHUNKED, b"2\r\n{}\r\n0\r\nAuthorization: Bearer z\r\nX-Forwarded-For: ::1\r\n\r\n"),
        422,
    ),
    "a folded line that looks like a header": (get(b"X: y\r\n Authorization: Bearer z\r\n"), 200),
    "a folded line that looks like a request": (get(b"X: y\r\n GET /smuggled HTTP/1.1\r\n"), 200),
    "a body on a GET that looks like a request": (
        get(b"Content-Length: %d\r\n" % LENGTH) + SMUGGLED,
        200,
    ),
    "an absolute target on another host": (get(b"", b"http://evil.example/cancel"), 404),
    "a target that names a host and a port": (get(b"", b"evil.example:443"), 404),
    "an upgrade to HTTP/2": (
        get(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
        200,
    ),
    "an upgrade to a WebSocket": (
        get(b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n"),
        200,
    ),
    "the store's own headers, taken away by Connection": (
        get(b"Connection: cookie, host, close\r\n"),
        200,
    ),
    "five hundred headers": (get(b"".join(b"X-%d: y\r\n" % one for one in range(500))), 200),
}  # fmt: skip


@pytest.mark.parametrize("name", READ_ONE_WAY)
def test_what_is_odd_is_one_request_and_no_more(line: Line, name: str) -> None:
    sent, status = READ_ONE_WAY[name]
    heard = line.say(sent)
    assert heard.statuses == (status,), heard
    (one,) = heard.seen
    assert not {"authorization", "x-forwarded-for"} & one.names
    assert b"evil.example" not in heard.text


def test_a_request_behind_one_that_is_whole_is_a_request_of_its_own(line: Line) -> None:
    """The witness: what is tried above does arrive where it is meant to."""
    heard = line.say(get(b"") + SMUGGLED)
    assert (heard.statuses, heard.closed) == ((200, 404), False)
    assert [one.path for one in heard.seen] == ["/cancel", "/smuggled"]


def test_what_follows_a_body_that_nobody_read_is_no_request(line: Line) -> None:
    heard = line.say(
        b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n", b"abc", SMUGGLED
    )
    assert heard.statuses == (404,)
    assert heard.closed


HEADS = {
    "nothing at all": (b"", b""),
    "half a head": (b"GET /cancel HTTP/1.1\r\nHost: x\r\n", b"HTTP/1.1 408 "),
    "half a head after an answer": (get(b"") + b"GET /cancel HT", b"HTTP/1.1 200 "),
}


def test_a_head_that_does_not_come_ends_the_line(impatient: Line) -> None:
    """Uvicorn alone never ends it, but for the five seconds after an answer."""
    with ExitStack() as stack:
        began = time.monotonic()
        held = {}
        for name, (begun, _) in HEADS.items():
            held[name] = stack.enter_context(impatient.connected())
            held[name].sendall(begun)
        for name, (_, answer) in HEADS.items():
            read = b""
            while piece := held[name].recv(65536):
                read += piece
            assert time.monotonic() - began > HEAD_SECONDS * 0.8, name
            assert read.startswith(answer), name
            assert (b" 408 " in read) == (name != "nothing at all")


def test_a_sign_of_a_head_now_and_then_buys_no_time(impatient: Line) -> None:
    with impatient.connected() as held:
        began, read = time.monotonic(), b"-"
        held.settimeout(0.05)
        while read == b"-" and time.monotonic() - began < 20:
            try:
                held.sendall(b"X")
                read = held.recv(65536)
            except TimeoutError:
                continue
            except ConnectionError:
                read = b""
    assert read == b"" or read.startswith(b"HTTP/1.1 4")


def test_a_hundred_silent_lines_are_all_given_up(impatient: Line) -> None:
    with ExitStack() as stack:
        held = []
        for _ in range(100):
            held.append(stack.enter_context(impatient.connected()))
            # At once: its time begins with the connection.
            held[-1].sendall(b"GET / HTTP/1.1\r\nX: ")
        assert impatient.say(get(b"Connection: close\r\n")).statuses == (200,)
        for one in held:
            assert one.recv(65536).startswith(b"HTTP/1.1 408 ")
