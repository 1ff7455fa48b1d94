"""Another site's page, and markup in names, in a real Chromium: what it does, not what we think."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route
from store_server import Store, key_on
from visiting import activate, ask_for_link
from web_places import need_chromium

from shimmy_sandbox.shopper.browser import open_browser
from shimmy_sandbox.simulation.loopback import serve_on_loopback

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

MACHINE = "The victim's machine"
MARKUP = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
EMAIL = "victim@example.com"
FORM = """<form id=f method=post action="{url}" enctype="{kind}">
<input name=machine value="{machine}"><input name=key value="{key}">
</form><script>f.submit()</script>"""
# Each tells by the title when the browser is done with it.
TELL = ".then(() => document.title = 'sent', () => document.title = 'stopped')"
FETCH = "<script>fetch({url!r}, {{{how}}})" + TELL + "</script>"
SIMPLE = "method: 'POST', credentials: 'include', mode: 'no-cors', body: '{}'"
JSON = """method: 'POST', credentials: 'include', headers: {'Content-Type': 'application/json'},
body: '{"machine": "x"}'"""
READ = "credentials: 'include'"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    need_chromium()
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def key(store: Store) -> str:
    bought = key_on(store.buy("developer", EMAIL).text)
    activate(store, bought, MACHINE)
    return bought


@pytest.fixture(autouse=True)
def _a_new_period(store: Store) -> None:
    store.town.pass_time(minutes=10)


@pytest.fixture
def victim(store: Store, key: str, browser: Browser) -> Iterator[BrowserContext]:
    """Somebody signed in."""
    context = browser.new_context()
    context.set_default_timeout(20_000)
    tab = context.new_page()
    tab.goto(f"{store.url}/view-license")
    tab.fill("input[name=key]", key)
    tab.press("input[name=key]", "Enter")
    tab.wait_for_selector("#licence-key")
    tab.close()
    yield context
    context.close()


class Site:
    """A site at another origin that shows whatever the test says; what leads there is kept."""

    def __init__(self) -> None:
        self.page, self.asked = "", list[str]()

    async def show(self, request: Request) -> HTMLResponse:
        self.asked.append(f"{request.url} {request.headers.get('referer', '')}")
        return HTMLResponse(self.page)


@pytest.fixture(scope="module")
def evil() -> Iterator[tuple[Site, dict[str, str]]]:
    """By its number it is another origin of the same site; by its name another site."""
    site = Site()
    with ExitStack() as stack:
        app = Starlette(routes=[Route("/", site.show)])
        served = stack.enter_context(serve_on_loopback(app))
        names = {"another port": served.url, "another site": f"http://localhost:{served.port}"}
        yield site, names


def still_theirs(store: Store, victim: BrowserContext, key: str) -> None:
    tab = victim.new_page()
    tab.goto(f"{store.url}/view-license")
    shown = tab.content()
    assert key in shown
    assert MACHINE in tab.inner_text("body")


@pytest.mark.parametrize(
    ("where", "kind"),
    [("another site", "application/x-www-form-urlencoded"), ("another port", "text/plain")],
)
def test_a_form_of_another_page_does_nothing(
    store: Store, victim: BrowserContext, key: str, evil: Any, where: str, kind: str
) -> None:
    site, names = evil
    for path in ("/free-machine", "/sign-out"):
        url = f"{store.url}{path}"
        site.page = FORM.format(url=url, kind=kind, machine="x", key=key)
        tab = victim.new_page()
        with tab.expect_response(url) as answer:
            tab.goto(names[where], wait_until="commit")
        assert answer.value.status == 403
        tab.close()
    still_theirs(store, victim, key)


@pytest.mark.parametrize("where", ["another port", "another site"])
def test_a_script_of_another_page_sends_nothing_that_counts_and_reads_nothing(
    store: Store, victim: BrowserContext, key: str, evil: Any, where: str
) -> None:
    site, names = evil
    for path, how, end in (
        ("/sign-out", SIMPLE, None),
        ("/free-machine", JSON, "stopped"),
        ("/view-license", READ, "stopped"),
    ):
        site.page = FETCH.format(url=f"{store.url}{path}", how=how)
        tab = victim.new_page()
        tab.goto(names[where])
        tab.wait_for_function("document.title == 'sent' || document.title == 'stopped'")
        assert end in (None, tab.title()), path
        tab.close()
    still_theirs(store, victim, key)


def test_no_page_of_the_store_is_framed(
    store: Store, victim: BrowserContext, key: str, evil: Any
) -> None:
    site, names = evil
    site.page = f'<iframe src="{store.url}/view-license"></iframe>'
    tab = victim.new_page()
    tab.goto(names["another port"])
    tab.wait_for_load_state("networkidle")
    assert all(key not in _text(frame) for frame in tab.frames)


def _text(frame: Any) -> str:
    return str(frame.content())


def test_markup_in_names_runs_nowhere(store: Store, browser: Browser) -> None:
    bought = key_on(store.buy("developer", "o'b&x@example.com").text)
    activate(store, bought, MARKUP, platform=MARKUP)
    context = browser.new_context()
    tab = context.new_page()
    faults: list[str] = []
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.goto(f"{store.url}/view-license")
    tab.fill("input[name=key]", bought)
    tab.press("input[name=key]", "Enter")
    tab.wait_for_selector("#licence-key")
    assert "<script>document.title" in tab.inner_text("main"), "it is shown as it was typed"
    _owned(tab)
    for path in (f"/buy?plan={MARKUP}", f"/sign-in?token={MARKUP}", f"/{MARKUP}"):
        tab.goto(f"{store.url}{path}")
        _owned(tab)
    tab.goto(f"{store.url}/view-license")
    assert faults == []
    context.close()


def _owned(tab: Page) -> None:
    assert "owned" not in tab.title()
    assert tab.locator("img[src=x]").count() == 0


def test_a_mailed_address_with_markup_is_shown_as_text(store: Store, browser: Browser) -> None:
    context = browser.new_context()
    tab = context.new_page()
    tab.goto(f"{store.url}/view-license")
    tab.eval_on_selector("input[name=email]", "one => one.type = 'text'")
    tab.fill("input[name=email]", "\"onx='1'&amp;@example.com")
    with tab.expect_navigation():
        tab.press("input[name=email]", "Enter")
    assert "onx='1'&amp;@example.com" in tab.inner_text("body")
    _owned(tab)
    context.close()


def test_a_link_in_a_page_of_another_site_does_not_take_the_token_along(
    store: Store, key: str, browser: Browser, evil: Any
) -> None:
    """What leaves the store's pages says nothing of the address that they have."""
    site, names = evil
    site.asked.clear()
    site.page = "<title>away</title>"
    asker = store.visitor()
    path = ask_for_link(store, asker, EMAIL)
    context = browser.new_context()
    tab = context.new_page()
    tab.goto(f"{store.url}{path}")
    tab.evaluate("url => { location.href = url }", names["another site"])
    tab.wait_for_function("document.title == 'away'")
    assert site.asked
    assert not [one for one in site.asked if "token" in one or store.url in one.split(" ")[1]]
    context.close()
