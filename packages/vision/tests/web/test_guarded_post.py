"""Posting one message: to judged addresses only, never further, and nothing given away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import httpx
import pytest
from line_client import Names
from web_places import Canary, Site, keep_canary, redirect, serve_site

from shimmy_vision.adapters.web.guarded_post import GuardedPost
from shimmy_vision.domain.web.allow_list import AllowList, read_allow_list
from shimmy_vision.errors import DeadlineError, ImageError, UsageError
from shimmy_vision.ports.cancellation import Cancellation

NOTHING = AllowList()
PUBLIC = "93.184.216.34"
BODY, HEADERS = b'{"id": "x"}', {"Content-Type": "application/json", "Shimmy-Signature": "t=1,v1=a"}


@pytest.fixture
def site() -> Iterator[Site]:
    with serve_site({"/hook": "thanks"}) as served:
        yield served


@pytest.fixture
def canary() -> Iterator[Canary]:
    with keep_canary() as kept:
        yield kept


def _post(post: GuardedPost, url: str, seconds: float = 10.0) -> int:
    return post.post(url, BODY, HEADERS, seconds, Cancellation())


def test_body_and_headers_arrive_and_nothing_else(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    got: list[tuple[str, bytes, dict[str, str]]] = []

    def hear(handler: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in handler.headers.items()}
        got.append((handler.command, handler.path.encode(), headers))
        handler.wfile.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")

    site.pages["/hear"] = hear
    assert _post(GuardedPost(read_allow_list([site.place])), f"{site.url}/hear?a=1") == 202
    ((command, path, headers),) = got
    assert (command, path) == ("POST", b"/hear?a=1")
    assert headers["shimmy-signature"] == "t=1,v1=a"
    assert headers["content-length"] == str(len(BODY))
    assert set(headers) == {
        "host", "user-agent", "accept", "accept-encoding", "connection", "content-type",
        "content-length", "shimmy-signature",
    }  # fmt: skip


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(site: Site, canary: Canary, status: int) -> None:
    site.pages["/away"] = redirect(canary.url, status)
    site.pages["/here"] = redirect("/hook", status)
    post = GuardedPost(read_allow_list(["127.0.0.1"]))
    assert _post(post, f"{site.url}/away") == status
    assert _post(post, f"{site.url}/here") == status
    assert (site.seen, canary.hits) == (["/away", "/here"], 0)


class _Seen(httpx.BaseTransport):
    """Stands in for the network: keeps what would be sent where."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(200, stream=httpx.ByteStream(b""))


def test_the_message_goes_to_the_judged_address_under_the_names_certificate() -> None:
    names, network = Names({"hook.example": [[PUBLIC], ["127.0.0.1"]]}), _Seen()
    post = GuardedPost(NOTHING, resolve=names, transport=lambda: network)
    assert _post(post, "https://Hook.Example/a") == 200
    (request,) = network.requests
    assert (str(request.url), request.read()) == (f"https://{PUBLIC}/a", BODY)
    assert (request.headers["Host"], request.extensions["sni_hostname"]) == ("hook.example",) * 2
    assert names.asked == ["hook.example"]
    # The name leads elsewhere the next time: rebinding gets nobody in.
    with pytest.raises(UsageError) as refused:
        _post(post, "https://Hook.Example/a")
    assert (refused.value.code, len(network.requests)) == ("url-refused", 1)


@pytest.mark.parametrize(
    "found", [["127.0.0.1"], [PUBLIC, "10.0.0.1"], ["::ffff:169.254.169.254"], ["fd00::1"]]
)
def test_a_name_with_a_bad_address_is_refused(found: list[str]) -> None:
    network = _Seen()
    post = GuardedPost(NOTHING, resolve=Names({"evil.example": [found]}), transport=lambda: network)
    with pytest.raises(UsageError) as refused:
        _post(post, "http://evil.example/")
    assert (refused.value.code, network.requests) == ("url-refused", [])


def test_hostile_urls_are_refused_before_anything_is_resolved(canary: Canary) -> None:
    names = Names({})
    post = GuardedPost(NOTHING, resolve=names)
    for url in (canary.url, "http://169.254.169.254/latest/",
                f"http://0x7f.1:{canary.port}", f"http://[::ffff:127.0.0.1]:{canary.port}/",
                "http://a:b@hook.example/", "ftp://hook.example/",
                "file:///etc/passwd"):  # fmt: skip
        for attempt in (post.check, lambda one: _post(post, one)):
            with pytest.raises(UsageError) as refused:
                attempt(url)
            assert refused.value.code == "url-refused", url
    with pytest.raises(UsageError) as refused:
        _post(GuardedPost(NOTHING), f"http://localhost:{canary.port}/")
    assert refused.value.code == "url-refused"
    assert (canary.hits, names.asked) == (0, [])


def test_offline_nothing_is_sent(site: Site) -> None:
    post = GuardedPost(read_allow_list([site.place]), offline=True)
    with pytest.raises(UsageError) as refused:
        _post(post, f"{site.url}/hook")
    assert (refused.value.code, site.seen) == ("url-offline", [])


def test_an_endless_answer_costs_nothing(site: Site) -> None:
    ended, pieces = threading.Event(), []

    def forever(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        try:
            while not ended.is_set():
                handler.wfile.write(b"x" * 65536)
                pieces.append(1)
        except OSError:
            ended.set()

    site.pages["/endless"] = forever
    assert _post(GuardedPost(read_allow_list([site.place])), f"{site.url}/endless") == 200
    assert ended.wait(60), "it was hung up on"
    assert len(pieces) < 1000


def test_a_head_that_never_ends_is_given_up(site: Site) -> None:
    ended = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not ended.wait(0.05):
            handler.wfile.write(b"x")

    site.pages["/drip"] = drip
    begun = time.monotonic()
    with pytest.raises(DeadlineError):
        _post(GuardedPost(read_allow_list([site.place])), f"{site.url}/drip", 0.5)
    # It would drip for ever.
    assert time.monotonic() - begun < 15
    ended.set()


def test_who_does_not_answer_may_later() -> None:
    post = GuardedPost(read_allow_list(["127.0.0.1"]), resolve=Names({}))
    for url in ("http://nowhere.example/", "http://127.0.0.1:1234/"):
        with pytest.raises(ImageError) as failed:
            _post(post, url)
        assert (failed.value.code, failed.value.retryable) == ("fetch-failed", True)
