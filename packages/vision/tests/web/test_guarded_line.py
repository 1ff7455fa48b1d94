"""The line lets through what was judged, to the address that was judged, and nothing else."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler

import pytest
from line_client import Dialled, Names, connect, credential, get, say, say_on
from web_places import Canary, Site, keep_canary, redirect, serve_site

from shimmy_vision.adapters.web.guarded_line import GuardedLine
from shimmy_vision.domain.web.allow_list import AllowList, read_allow_list
from shimmy_vision.domain.web.visit import VisitLimits

NOTHING = AllowList()
LIMITS = VisitLimits()
PUBLIC, OTHER = "93.184.216.34", "93.184.216.35"


@pytest.fixture
def site() -> Iterator[Site]:
    with serve_site({"/": "hello", "/big": b"x" * 300_000}) as served:
        yield served


@pytest.fixture
def canary() -> Iterator[Canary]:
    with keep_canary() as kept:
        yield kept


def test_what_is_allowed_passes_in_both_directions(site: Site) -> None:
    with GuardedLine(read_allow_list([site.place]), LIMITS) as line:
        reply = get(line, site.url + "/?q=1")
        assert (reply.status, reply.body) == (200, b"hello")
        assert site.seen == ["/?q=1"]
        assert line.refusals == ()
        assert len(reply.body) < line.taken_bytes < 2_000


def test_nobody_without_the_credential_gets_anywhere(site: Site) -> None:
    with GuardedLine(read_allow_list([site.place]), LIMITS) as line:
        first = f"GET {site.url}/ HTTP/1.1"
        for head in (
            first,
            f"{first}\r\nHost: x\r\nProxy-Authorization: Basic c2hpbW15Ong=",
            f"{first}\r\nHost: x\r\nProxy-Authorization: {credential(line)}x",
        ):
            reply = say(line, head, known=False)
            assert reply.status == 407
            assert reply.headers["proxy-authenticate"].startswith("Basic")
        twice = f"{first}\r\nHost: x\r\nProxy-Authorization: {credential(line)}"
        assert say(line, twice).status == 407
    assert site.seen == []


def test_each_line_has_a_credential_of_its_own() -> None:
    lines = [GuardedLine(NOTHING, LIMITS) for _ in range(2)]
    for line in lines:
        with line:
            pass
    assert lines[0].password != lines[1].password


def test_the_server_learns_nothing_of_the_line(site: Site) -> None:
    with GuardedLine(read_allow_list([site.place]), LIMITS) as line:
        head = (
            f"GET {site.url}/ HTTP/1.1\r\nHost: lie.example\r\nProxy-Connection: keep-alive\r\n"
            "Connection: X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\nUpgrade: websocket"
        )
        assert say(line, head).status == 200
    (seen,) = site.headers
    assert seen == {"host": site.place, "connection": "close", "x-end": "2"}


@pytest.mark.parametrize(
    "place",
    ["127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "[::1]", "[::ffff:127.0.0.1]",
     "0", "a.localhost"],
)  # fmt: skip
@pytest.mark.parametrize("tunnel", [True, False])
def test_loopback_is_refused_however_it_is_written(
    place: str, tunnel: bool, canary: Canary
) -> None:
    names = Names({"localhost": [["127.0.0.1"]], "a.localhost": [["::1", "127.0.0.1"]]})
    with GuardedLine(NOTHING, LIMITS, resolve=names) as line:
        target = f"{place}:{canary.port}"
        reply = (
            say(line, f"CONNECT {target} HTTP/1.1") if tunnel else get(line, f"http://{target}/")
        )
        assert reply.status == 403
        assert reply.headers["x-shimmy-line"] == "403"
        assert b"not a public address" in reply.body
        assert len(line.refusals) == 1
    assert canary.hits == 0


@pytest.mark.parametrize(
    "target", ["/", "https://example.com/", "ftp://example.com/", "file:///etc/passwd", "*"]
)
def test_other_forms_of_requests_are_refused(target: str) -> None:
    with GuardedLine(NOTHING, LIMITS) as line:
        assert say(line, f"GET {target} HTTP/1.1").status in (400, 403)


def test_a_name_is_resolved_once_and_its_address_kept(site: Site) -> None:
    names = Names({"rebind.example": [[PUBLIC], ["127.0.0.1"]]})
    dialled = Dialled(site.port)
    with GuardedLine(NOTHING, LIMITS, resolve=names, dial=dialled.dial()) as line:
        for _ in range(3):
            assert get(line, "http://rebind.example/").status == 200
        assert say(line, "CONNECT rebind.example:443 HTTP/1.1").status == 200
    assert names.asked == ["rebind.example"]
    assert dialled.asked == [(PUBLIC, 80)] * 3 + [(PUBLIC, 443)]


def test_a_name_that_was_bad_once_stays_bad(canary: Canary) -> None:
    names = Names({"rebind.example": [["127.0.0.1"], [PUBLIC]]})
    dialled = Dialled(canary.port)
    with GuardedLine(NOTHING, LIMITS, resolve=names, dial=dialled.dial()) as line:
        replies = [get(line, "http://rebind.example/") for _ in range(2)]
    assert [reply.status for reply in replies] == [403, 403]
    assert dialled.asked == []


@pytest.mark.parametrize(
    "found",
    [[PUBLIC, "127.0.0.1"], ["169.254.169.254"], ["::ffff:10.0.0.1"], ["fe80::1%eth0"], ["x"]],
)
def test_one_bad_answer_refuses_the_name(found: list[str]) -> None:
    dialled = Dialled(1)
    names = Names({"mixed.example": [found]})
    with GuardedLine(NOTHING, LIMITS, resolve=names, dial=dialled.dial()) as line:
        assert get(line, "http://mixed.example/").status == 403
        assert say(line, "CONNECT mixed.example:443 HTTP/1.1").status == 403
        assert {refusal.host for refusal in line.refusals} == {"mixed.example"}
    assert dialled.asked == []


def test_the_second_address_is_tried_when_the_first_does_not_answer(site: Site) -> None:
    allow = read_allow_list(["two.example"])
    with socket.socket() as closed:
        closed.bind(("127.0.0.2", site.port))  # nobody listens there
        names = Names({"two.example": [["127.0.0.2", "127.0.0.1"]]})
        with GuardedLine(allow, LIMITS, resolve=names) as line:
            assert get(line, f"http://two.example:{site.port}/").body == b"hello"


def test_a_redirect_is_the_clients_to_follow_and_judged_then(site: Site, canary: Canary) -> None:
    site.pages["/away"] = redirect(canary.url)
    with GuardedLine(read_allow_list([site.place]), LIMITS) as line:
        reply = get(line, site.url + "/away")
        assert (reply.status, reply.headers["location"]) == (302, canary.url)
        assert get(line, reply.headers["location"] + "/").status == 403
    assert canary.hits == 0


def test_no_server_speaks_in_the_lines_name(site: Site) -> None:
    site.pages["/"] = (200, {"X-Shimmy-Line": "403", "X-Other": "1"}, b"")
    with GuardedLine(read_allow_list([site.place]), LIMITS) as line:
        headers = get(line, site.url + "/").headers
    assert "x-shimmy-line" not in headers
    assert headers["x-other"] == "1"


def test_a_second_request_behind_the_first_goes_nowhere(site: Site, canary: Canary) -> None:
    hidden = f"GET {canary.url}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with GuardedLine(read_allow_list([site.place]), LIMITS) as line, connect(line) as connection:
        reply = say_on(connection, line, f"GET {site.url}/ HTTP/1.1", hidden)
        assert reply.status == 200
        assert reply.headers["connection"] == "close"
        assert connection.recv(1) == b""
    assert site.seen == ["/"]
    assert canary.hits == 0


def test_bodies_pass_whole_and_in_chunks(site: Site) -> None:
    bodies = []

    def echo(handler: BaseHTTPRequestHandler) -> None:
        size = int(handler.rfile.readline(), 16)
        bodies.append(handler.rfile.read(size))
        handler.wfile.write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
        )
        handler.close_connection = True

    site.pages["/echo"] = echo
    with GuardedLine(read_allow_list([site.place]), LIMITS) as line:
        head = f"POST {site.url}/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked"
        assert say(line, head, b"5\r\nhello\r\n0\r\n\r\n").body == b"ok"
        head = f"POST {site.url}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5"
        assert say(line, head, b"hello").body == b"hello"
    assert bodies == [b"hello"]


def _answering(words: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(words)
        handler.close_connection = True

    return answer


@pytest.mark.parametrize(
    "words", [b"", b"what?\r\n\r\n", b"HTTP/1.1 101 Go\r\n\r\n", b"HTTP/9 200"]
)
def test_what_is_no_http_becomes_a_bad_gateway(site: Site, words: bytes) -> None:
    site.pages["/odd"] = _answering(words)
    with GuardedLine(read_allow_list([site.place]), LIMITS) as line:
        assert get(line, site.url + "/odd").status == 502


def test_an_answer_that_breaks_off_does_not_look_whole(site: Site) -> None:
    site.pages["/cut"] = _answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    with (
        GuardedLine(read_allow_list([site.place]), LIMITS) as line,
        pytest.raises((http.client.IncompleteRead, OSError)),
    ):
        get(line, site.url + "/cut")


def test_who_does_not_answer_is_told_apart_from_who_is_refused() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with GuardedLine(read_allow_list(["127.0.0.1"]), LIMITS) as line:
            assert get(line, f"http://127.0.0.1:{port}/").status == 502
            assert line.refusals == ()


def test_bytes_of_the_whole_visit_are_limited(site: Site) -> None:
    allow = read_allow_list([site.place])
    with GuardedLine(allow, VisitLimits(max_bytes=500_000)) as line:
        assert len(get(line, site.url + "/big").body) == 300_000
        with pytest.raises((http.client.IncompleteRead, OSError)):
            get(line, site.url + "/big")
        assert get(line, site.url + "/").status == 413
        assert line.exceeded == "more than 0.5 MB"
        assert line.taken_bytes < 700_000


def test_bytes_in_tunnels_count_too(site: Site) -> None:
    with (
        GuardedLine(read_allow_list([site.place]), VisitLimits(max_bytes=100_000)) as line,
        connect(line) as connection,
    ):
        assert say_on(connection, line, f"CONNECT {site.place} HTTP/1.1").status == 200
        connection.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        received = 0
        with pytest.raises(OSError):
            while piece := connection.recv(65536):
                received += len(piece)
            raise OSError("closed")
        assert received < 300_000
        assert line.exceeded


def test_requests_are_limited(site: Site) -> None:
    with GuardedLine(read_allow_list([site.place]), VisitLimits(max_requests=3)) as line:
        statuses = [get(line, site.url + "/").status for _ in range(5)]
        assert statuses == [200, 200, 200, 413, 413]
        assert line.exceeded == "more than 3 requests"


def test_time_is_limited(site: Site) -> None:
    held = threading.Event()
    site.pages["/never"] = lambda _handler: held.wait(60)  # type: ignore[assignment]
    with GuardedLine(read_allow_list([site.place]), VisitLimits(max_seconds=1.5)) as line:
        begun = time.monotonic()
        with pytest.raises((http.client.HTTPException, OSError)):
            get(line, site.url + "/never")
        # The server would not have answered for a minute.
        assert time.monotonic() - begun < 15
        assert get(line, site.url + "/").status == 413
    held.set()


def test_a_name_that_never_resolves_holds_nobody_else_up(site: Site) -> None:
    held = threading.Event()

    def resolve(host: str) -> list[str]:
        if host == "slow.example":
            held.wait(60)
        return [host]

    begun = time.monotonic()
    with (
        GuardedLine(read_allow_list([site.place]), LIMITS, resolve=resolve) as line,
        connect(line) as waiting,
    ):
        known = f"Host: x\r\nProxy-Authorization: {credential(line)}\r\n\r\n"
        waiting.sendall(f"GET http://slow.example/ HTTP/1.1\r\n{known}".encode())
        assert get(line, site.url + "/").status == 200
    assert time.monotonic() - begun < 15, "the name would not have been resolved for a minute"
    held.set()


def test_nothing_is_left_when_the_line_is_closed(site: Site) -> None:
    before = set(threading.enumerate())
    with GuardedLine(read_allow_list([site.place]), LIMITS) as line:
        connection = connect(line)
        say_on(connection, line, f"CONNECT {site.place} HTTP/1.1")
    with connection:
        connection.settimeout(5)
        assert connection.recv(1) == b""
        with pytest.raises(OSError):
            connect(line)
    assert {thread for thread in threading.enumerate() if thread.name == "guarded-line"} <= before
