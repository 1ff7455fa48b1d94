"""Fetching one file: to judged addresses only, within limits, and nothing given away."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import httpx
import pytest
from line_client import Names
from web_places import Canary, Site, keep_canary, redirect, serve_site

from shimmy_vision.adapters.web.guarded_fetch import GuardedFetch
from shimmy_vision.domain.web.allow_list import AllowList, read_allow_list
from shimmy_vision.errors import DeadlineError, ImageError, ShimmyError, StoppedError, UsageError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.web_fetch import FetchLimits

NOTHING = AllowList()
LIMITS = FetchLimits(max_bytes=1_000_000, max_seconds=10.0, max_redirects=3)
PUBLIC = "93.184.216.34"
PICTURE = b"\x89PNG and so on"


@pytest.fixture
def site() -> Iterator[Site]:
    with serve_site({"/a.png": PICTURE}) as served:
        yield served


@pytest.fixture
def canary() -> Iterator[Canary]:
    with keep_canary() as kept:
        yield kept


def _fetch(site: Site, path: str, limits: FetchLimits = LIMITS) -> bytes:
    fetcher = GuardedFetch(read_allow_list([site.place]))
    return fetcher.fetch(site.url + path, limits, Cancellation())


def _failure(site: Site, path: str, limits: FetchLimits = LIMITS) -> ShimmyError:
    with pytest.raises(ShimmyError) as failed:
        _fetch(site, path, limits)
    return failed.value


def test_a_file_is_fetched_as_it_is(site: Site) -> None:
    assert _fetch(site, "/a.png?size=1") == PICTURE
    assert site.seen == ["/a.png?size=1"]


def test_nothing_from_here_goes_along(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    site.pages["/first"] = (302, {"Location": "/a.png", "Set-Cookie": "a=1"}, b"")
    assert _fetch(site, "/first") == PICTURE
    for headers in site.headers:
        assert set(headers) == {"host", "user-agent", "accept", "accept-encoding", "connection"}


class _Seen(httpx.BaseTransport):
    """Stands in for the network: keeps what would be sent where."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers, self.requests = list(answers), list[httpx.Request]()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def _answer(body: bytes = PICTURE, status: int = 200, **headers: str) -> httpx.Response:
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))


def test_the_connection_goes_to_the_judged_address_under_the_names_certificate() -> None:
    names = Names({"pics.example": [[PUBLIC], ["127.0.0.1"]]})
    network = _Seen(_answer(b"", 302, Location="https://pics.example/b"), _answer())
    fetcher = GuardedFetch(NOTHING, resolve=names, transport=lambda: network)
    assert fetcher.fetch("https://Pics.Example/a?b", LIMITS, Cancellation()) == PICTURE
    assert names.asked == ["pics.example"]
    assert [str(request.url) for request in network.requests] == [
        f"https://{PUBLIC}/a?b",
        f"https://{PUBLIC}/b",
    ]
    for request in network.requests:
        assert request.headers["Host"] == "pics.example"
        assert request.extensions["sni_hostname"] == "pics.example"


def test_the_next_judged_address_is_tried_where_one_does_not_answer() -> None:
    names = Names({"pics.example": [["2606:4700::1", PUBLIC]]})
    network = _Seen(httpx.ConnectError("no route"), _answer())
    fetcher = GuardedFetch(NOTHING, resolve=names, transport=lambda: network)
    assert fetcher.fetch("http://pics.example/", LIMITS, Cancellation()) == PICTURE
    assert [request.url.host for request in network.requests] == ["2606:4700::1", PUBLIC]


@pytest.mark.parametrize(
    "found", [["127.0.0.1"], [PUBLIC, "10.0.0.1"], ["::ffff:169.254.169.254"], ["fd00::1"]]
)
def test_a_name_with_a_bad_address_is_refused(found: list[str]) -> None:
    network = _Seen()
    fetcher = GuardedFetch(
        NOTHING, resolve=Names({"evil.example": [found]}), transport=lambda: network
    )
    with pytest.raises(UsageError) as refused:
        fetcher.fetch("http://evil.example/", LIMITS, Cancellation())
    assert refused.value.code == "url-refused"
    assert network.requests == []


def test_a_name_that_changes_between_redirects_is_not_asked_again() -> None:
    names = Names({"a.example": [[PUBLIC], ["127.0.0.1"]], "b.example": [["127.0.0.1"]]})
    network = _Seen(
        _answer(b"", 302, Location="//a.example:81/"), _answer(b"", 302, Location="//b.example/")
    )
    fetcher = GuardedFetch(NOTHING, resolve=names, transport=lambda: network)
    with pytest.raises(ImageError) as refused:
        fetcher.fetch("http://a.example/", LIMITS, Cancellation())
    assert refused.value.code == "redirect-refused"
    assert [str(request.url) for request in network.requests] == [
        f"http://{PUBLIC}/",
        f"http://{PUBLIC}:81/",
    ]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_to_loopback_are_refused(site: Site, canary: Canary, status: int) -> None:
    targets = [canary.url, f"//127.0.0.1:{canary.port}/", f"http://localhost:{canary.port}/",
               f"http://0x7f.1:{canary.port}", f"http://[::ffff:127.0.0.1]:{canary.port}/",
               "file:///etc/passwd", "http://169.254.169.254/latest/"]  # fmt: skip
    for target in targets:
        site.pages["/away"] = redirect(target, status)
        assert _failure(site, "/away").code == "redirect-refused", target
    assert canary.hits == 0


def test_what_the_caller_names_itself_is_a_usage_error(site: Site, canary: Canary) -> None:
    fetcher = GuardedFetch(read_allow_list([site.place]))
    for url in (canary.url, f"http://localhost:{canary.port}/", "file:///etc/passwd", "x"):
        with pytest.raises(UsageError) as refused:
            fetcher.fetch(url, LIMITS, Cancellation())
        assert refused.value.code == "url-refused"
    assert canary.hits == 0


def test_redirects_are_limited(site: Site) -> None:
    site.pages["/round"] = redirect("/round")
    assert _failure(site, "/round").code == "fetch-redirects"
    assert len(site.seen) == LIMITS.max_redirects + 1


def test_bytes_are_limited_whatever_the_server_announces(site: Site) -> None:
    ended = threading.Event()

    def forever(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while not ended.is_set():
            handler.wfile.write(b"x" * 65536)

    site.pages["/endless"] = forever
    site.pages["/big"] = b"x" * 1_000_001
    site.pages["/fits"] = b"x" * 1_000_000
    assert _failure(site, "/endless").code == "fetch-too-large"
    ended.set()
    assert _failure(site, "/big").code == "fetch-too-large"
    assert len(_fetch(site, "/fits")) == 1_000_000


def test_packed_answers_are_refused(site: Site) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    site.pages["/bomb"] = (200, {"Content-Encoding": "gzip"}, bomb)
    assert _failure(site, "/bomb").code == "fetch-encoded"


def test_time_is_limited_even_when_every_piece_is_quick(site: Site) -> None:
    ended = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not ended.wait(0.05):
            handler.wfile.write(b"x")

    site.pages["/drip"] = drip
    begun = time.monotonic()
    failure = _failure(site, "/drip", FetchLimits(max_seconds=0.5))
    assert isinstance(failure, DeadlineError)
    assert failure.code == "fetch-timeout"
    # It would drip for ever.
    assert time.monotonic() - begun < 15
    ended.set()


def test_a_name_that_never_resolves_ends_in_time() -> None:
    held = threading.Event()

    def resolve(host: str) -> list[str]:
        held.wait(60)
        return [host]

    fetcher = GuardedFetch(NOTHING, resolve=resolve)
    with pytest.raises(DeadlineError):
        fetcher.fetch("http://slow.example/", FetchLimits(max_seconds=0.3), Cancellation())
    held.set()


def test_stopping_hangs_up_at_once(site: Site) -> None:
    held, cancellation = threading.Event(), Cancellation()
    site.pages["/never"] = lambda _handler: _wait(held)
    timer = threading.Timer(0.3, cancellation.cancel, ("interrupted",))
    timer.start()
    begun = time.monotonic()
    with pytest.raises(StoppedError):
        GuardedFetch(read_allow_list([site.place])).fetch(site.url + "/never", LIMITS, cancellation)
    # The server would not have answered for a minute.
    assert time.monotonic() - begun < 15
    held.set()
    timer.join()


def _wait(held: threading.Event) -> None:
    held.wait(60)


@pytest.mark.parametrize(("status", "retryable"), [(404, False), (403, False), (503, True)])
def test_other_answers_name_their_status(site: Site, status: int, retryable: bool) -> None:
    site.pages["/odd"] = (status, {}, b"no")
    failure = _failure(site, "/odd")
    assert failure.code == "fetch-not-found"
    assert str(status) in failure.message
    assert failure.retryable is retryable


def test_names_without_address_and_servers_without_answer(site: Site) -> None:
    fetcher = GuardedFetch(read_allow_list(["127.0.0.1"]), resolve=Names({}))
    for url in ("http://nowhere.example/", "http://127.0.0.1:1234/"):
        with pytest.raises(ImageError) as failed:
            fetcher.fetch(url, LIMITS, Cancellation())
        assert failed.value.code == "fetch-failed"
        assert failed.value.retryable
