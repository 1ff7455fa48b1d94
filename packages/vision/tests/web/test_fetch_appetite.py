"""A fetch that stops where the beginning says that the rest is of no use."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler

import pytest
from web_places import Site, serve_site

from shimmy_vision.adapters.web.guarded_fetch import GuardedFetch
from shimmy_vision.domain.web.allow_list import read_allow_list
from shimmy_vision.errors import ImageError, UsageError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.web_fetch import HEAD_BYTES, FetchLimits


@pytest.fixture
def site() -> Iterator[Site]:
    with serve_site({"/long": b"x" * 3_000_000, "/short": b"short"}) as served:
        yield served


def _fetch(site: Site, path: str, appetite: Callable[[bytes], int], **limits: float) -> bytes:
    allowed = GuardedFetch(read_allow_list([site.place]))
    return allowed.fetch(
        site.url + path,
        FetchLimits(**limits),  # type: ignore[arg-type]
        Cancellation(),
        appetite,
    )


def test_the_beginning_decides_how_much_is_read(site: Site) -> None:
    heads: list[bytes] = []

    def want(most: int) -> Callable[[bytes], int]:
        return lambda head: heads.append(head) or most  # type: ignore[func-returns-value]

    assert HEAD_BYTES <= len(_fetch(site, "/long", want(0))) < 3_000_000
    assert len(_fetch(site, "/long", want(3_000_000))) == 3_000_000
    assert heads == [b"x" * HEAD_BYTES] * 2
    for most, allowed in ((2_999_999, 50_000_000), (50_000_000, 2_999_999)):
        with pytest.raises(ImageError) as refused:
            _fetch(site, "/long", want(most), max_bytes=allowed)
        assert refused.value.code == "fetch-too-large"


def test_what_is_short_comes_whole_and_unasked(site: Site) -> None:
    assert _fetch(site, "/short", lambda head: pytest.fail("asked")) == b"short"


def test_a_body_without_end_is_left_at_once(site: Site) -> None:
    over = threading.Event()

    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "text/html")
        request.end_headers()
        request.wfile.write(b"<p>" * HEAD_BYTES)
        over.wait(60)
        request.close_connection = True

    site.pages["/endless"] = endless
    begun = time.monotonic()
    assert _fetch(site, "/endless", lambda head: 0)[:3] == b"<p>"
    # What follows would not have come for a minute.
    assert time.monotonic() - begun < 15
    over.set()


def test_offline_nothing_is_asked(site: Site) -> None:
    forbidden = GuardedFetch(read_allow_list([site.place]), offline=True)
    with pytest.raises(UsageError) as refused:
        forbidden.fetch(site.url, FetchLimits(), Cancellation())
    assert refused.value.code == "url-offline"
    assert refused.value.hint
    assert site.seen == []
