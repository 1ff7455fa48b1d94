"""A real browser on hostile pages: nothing but what is allowed is ever reached."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from hostile_page import hostile_pages
from line_client import Names
from web_places import Canary, Site, keep_canary, need_chromium, redirect, serve_site

from shimmy_vision.adapters.web.chromium_pages import ChromiumPages
from shimmy_vision.domain.web.allow_list import read_allow_list
from shimmy_vision.domain.web.visit import VisitLimits
from shimmy_vision.errors import ImageError, ShimmyError, UsageError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.page_capture import PageCapture, PageLimits, PageOrder

pytestmark = pytest.mark.slow

QUICK = PageLimits(load_seconds=8.0, idle_seconds=3.0, font_seconds=1.0, total_seconds=120.0)
# A page gets eleven seconds, in which a browser on a busy machine may not get to every way; one
# capture is enough on an idle one.
_TRIES = 3
# Ways that must be seen to work where they are allowed, or that they do not proves nothing.
WORKING = {
    "css", "import", "font", "background", "img", "srcset", "redirected", "iframe", "srcdoc",
    "refresh", "form", "location", "object", "embed", "video", "audio", "svg", "script", "module",
    "fetch", "keepalive", "xhr", "beacon", "events", "websocket", "worker", "importscripts",
    "sharedworker", "localhost", "decimal", "preload", "modulepreload", "link",
    "sandboxed", "data", "content", "poster", "input", "source",
}  # fmt: skip


@pytest.fixture
def browser() -> str:
    return need_chromium()


@pytest.fixture
def canary() -> Iterator[Canary]:
    with keep_canary() as kept:
        yield kept


@pytest.fixture
def site() -> Iterator[Site]:
    with serve_site() as served:
        yield served


def _capture(
    site: Site,
    browser: str,
    *more: str,
    path: str = "/",
    names: Names | None = None,
    limits: PageLimits = QUICK,
) -> PageCapture:
    camera = ChromiumPages(read_allow_list([site.place, *more]), resolve=names or Names({}))
    order = PageOrder(site.url + path, browser=browser, full_page=False, limits=limits)
    return camera.capture(order, Cancellation())


def _failure(site: Site, browser: str, path: str = "/") -> ShimmyError:
    with pytest.raises(ShimmyError) as failed:
        _capture(site, browser, path=path)
    return failed.value


def _names() -> Names:
    """The second answer of the rebinding name would lead to loopback."""
    loopback = [["127.0.0.1"]]
    local = {"localhost": loopback, "sub.localhost": loopback}
    return Names({"rebind.example": [["192.0.2.1"], ["127.0.0.1"]], **local})


def test_no_way_out_of_a_page_reaches_loopback(site: Site, canary: Canary, browser: str) -> None:
    site.pages.update(hostile_pages(canary.port))
    capture = _capture(site, browser, names=_names())
    assert (canary.lines, canary.connections, canary.packets) == ([], 0, 0)
    assert capture.title == "hostile"
    assert capture.final_url == site.url + "/#"  # where the click on the ping led
    refused = next(note for note in capture.notes if "refused" in note)
    assert "127.0.0.1 is not a public address (loopback)" in refused
    assert "/state.js" not in site.seen


def test_the_same_page_reaches_it_where_that_is_allowed(
    site: Site, canary: Canary, browser: str
) -> None:
    site.pages.update(hostile_pages(canary.port))
    places = (canary.url.removeprefix("http://"), f"localhost:{canary.port}")
    reached = set[str]()
    for _ in range(_TRIES):
        _capture(site, browser, *places, names=_names())
        reached |= {line.split(" ")[1].lstrip("/") for line in canary.lines if " /" in line}
        if reached >= WORKING:
            break
    assert reached >= WORKING, WORKING - reached
    assert "serviceworker" not in reached
    # What goes around the line stays shut, whatever the allow-list says.
    assert canary.packets == 0


def _without(browser: str, folder: Path, *flags: str) -> str:
    """A browser that is started without ``flags``."""
    path = folder / "chromium-without"
    cases = "".join(f"{flag}*) ;; " for flag in flags)
    path.write_text(
        '#!/bin/bash\nkept=()\nfor one in "$@"; do case "$one" in '
        f'{cases}*) kept+=("$one") ;; esac; done\nexec {browser} "${{kept[@]}}"\n'
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.parametrize(
    ("flags", "kind"),
    [(["--proxy-server"], "connections"), (["--webrtc-ip-handling", "--force-webrtc"], "packets")],
)
def test_the_canary_notices_a_browser_without_its_guard(
    site: Site, canary: Canary, browser: str, tmp_path: Path, flags: list[str], kind: str
) -> None:
    site.pages.update(hostile_pages(canary.port))
    unguarded = _without(browser, tmp_path, *flags)
    for _ in range(_TRIES):
        _capture(site, unguarded, names=_names())
        if getattr(canary, kind) > 0:
            break
    assert getattr(canary, kind) > 0


def test_the_browser_connects_to_nothing_but_the_line(
    site: Site, canary: Canary, browser: str, tmp_path: Path
) -> None:
    """By the browser's own log of its network: sockets, names it looked up itself."""
    site.pages.update(hostile_pages(canary.port))
    log = tmp_path / "net.json"
    logging = tmp_path / "chromium-logging"
    logging.write_text(f'#!/bin/sh\nexec {browser} "$@" --log-net-log={log}\n')
    logging.chmod(0o755)
    _capture(site, str(logging), names=_names())
    events = list(_network_events(log))
    dialled = {str(given["address"]) for kind, given in events if kind == "TCP_CONNECT_ATTEMPT"}
    assert len(dialled) == 1, dialled
    assert dialled.isdisjoint({f"127.0.0.1:{canary.port}", f"127.0.0.1:{site.port}"})
    # The one UDP socket is never written to: it asks the system whether it knows a way for IPv6.
    packets = {str(given["address"]) for kind, given in events if kind == "UDP_CONNECT"}
    assert packets <= {"[2001:4860:4860::8888]:443"}
    looked_up = {str(given["host"]) for kind, given in events if kind == _LOOK_UP}
    names = {host.partition("//")[2].partition(":")[0] for host in looked_up}
    assert names <= {"~notfound", "127.0.0.1"}


_LOOK_UP = "HOST_RESOLVER_MANAGER_REQUEST"


def _network_events(log: Path) -> Iterator[tuple[str, dict[str, object]]]:
    wanted = {"TCP_CONNECT_ATTEMPT": "address", "UDP_CONNECT": "address", _LOOK_UP: "host"}
    read = json.loads(log.read_text(errors="replace"))
    kinds = {number: kind for kind, number in read["constants"]["logEventTypes"].items()}
    assert wanted.keys() <= set(kinds.values())
    for event in read["events"]:
        kind, given = kinds[event["type"]], event.get("params", {})
        if wanted.get(kind) in given:
            yield kind, given


@pytest.mark.parametrize("far", ["http://169.254.169.254/", "http://10.0.0.1/", "//[::1]/"])
def test_a_page_that_redirects_to_a_private_address_is_refused(
    site: Site, browser: str, far: str
) -> None:
    site.pages["/"] = redirect(far)
    failure = _failure(site, browser)
    assert isinstance(failure, ImageError)
    assert failure.code == "page-refused"
    assert "not a public address" in failure.message


@pytest.mark.parametrize(
    "body",
    [
        '<meta http-equiv=refresh content="0;url={}">',
        '<script>location = "{}"</script>',
        '<form method=post action="{}"></form><script>document.forms[0].submit()</script>',
    ],
)
def test_a_page_that_goes_on_to_one_is_refused(
    site: Site, canary: Canary, browser: str, body: str
) -> None:
    site.pages["/"] = body.format(f"{canary.url}/top")
    assert _failure(site, browser).code == "page-refused"
    assert canary.hits == 0


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_a_name_that_leads_to_loopback_is_refused(
    canary: Canary, browser: str, scheme: str
) -> None:
    names = Names({"evil.example": [["127.0.0.1"]]})
    camera = ChromiumPages(read_allow_list([]), resolve=names)
    order = PageOrder(f"{scheme}://evil.example:{canary.port}/", browser=browser, limits=QUICK)
    with pytest.raises(UsageError) as refused:
        camera.capture(order, Cancellation())
    assert refused.value.code == "url-refused"
    assert "127.0.0.1 is not a public address" in refused.value.message
    assert canary.hits == 0


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "http://127.0.0.1:1/", "chrome://gpu", "view-source:http://x/"]
)
def test_what_is_refused_by_its_url_starts_no_browser(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        ChromiumPages(read_allow_list([])).capture(
            PageOrder(url, browser="no-such-browser"), Cancellation()
        )
    assert refused.value.code == "url-refused"


def test_downloads_are_refused(site: Site, browser: str) -> None:
    site.pages["/"] = (200, {"Content-Disposition": "attachment; filename=x.exe"}, b"MZ")
    assert _failure(site, browser).code in ("page-not-shown", "page-unreachable")


def test_a_page_that_takes_too_much_is_cut_off(site: Site, browser: str) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/javascript\r\n\r\n")
        while True:
            handler.wfile.write(b"x" * 65536)

    site.pages.update(
        {"/": "<title>big</title><p>text<script src=/endless></script>", "/endless": endless}
    )
    limits = PageLimits(total_seconds=90.0, visit=VisitLimits(max_bytes=3_000_000))
    capture = _capture(site, browser, limits=limits)
    assert capture.title == "big"
    assert "the page takes more than 3 MB; the rest was not loaded" in capture.notes


def test_a_page_of_too_many_requests_is_cut_off(site: Site, browser: str) -> None:
    site.pages["/"] = "<title>many</title>" + "".join(f"<img src=/{n}>" for n in range(50))
    limits = PageLimits(total_seconds=90.0, visit=VisitLimits(max_requests=10))
    capture = _capture(site, browser, limits=limits)
    assert len(site.seen) <= 10
    assert any("more than 10 requests" in note for note in capture.notes)


def test_a_page_that_never_rests_is_captured_all_the_same(site: Site, browser: str) -> None:
    site.pages["/"] = "<title>busy</title>x<script>setInterval(() => fetch('/more'), 50)</script>"
    limits = PageLimits(idle_seconds=1.0, total_seconds=60.0)
    begun = time.monotonic()
    capture = _capture(site, browser, limits=limits)
    # Some seconds on an idle machine; whoever waits for its rest takes all of a minute.
    assert time.monotonic() - begun < 45
    assert "still loading after another 1 s" in capture.notes


def test_the_environment_stays_here(
    site: Site, browser: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHIMMY_LICENSE_KEY", "SECRET")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    told = tmp_path / "environment"
    spying = tmp_path / "chromium-spying"
    spying.write_text(f'#!/bin/sh\nenv > {told}\nexec {browser} "$@"\n')
    spying.chmod(0o755)
    site.pages["/"] = "<title>x</title>"
    _capture(site, str(spying))
    text = told.read_text()
    assert "SECRET" not in text
    assert "http_proxy" not in text
    assert f"HOME={os.environ['HOME']}\n" not in text
