"""The static site in a real browser: seen by everybody, asking nobody else, small."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Response, sync_playwright
from site_places import build, served
from web_places import need_chromium

BASE = "/repository/"
ARTIFACTS = Path(__file__).resolve().parents[3] / "artifacts" / "site"
PAGES = (
    "index.html", "pricing.html", "docs/install.html", "docs/quickstart.html", "docs/api.html",
    "docs/troubleshooting.html", "docs/licence.html", "terms.html", "privacy.html", "refunds.html",
    "no/such/page.html",
)  # fmt: skip
MODES = ("test", "live")
# Every page narrow and light, and wide and dark; those that have most on them the other way, too.
LOOKS = [
    *((name, *look) for name in PAGES for look in ((375, "light"), (1280, "dark"))),
    *((name, *look) for name in PAGES[:3] for look in ((1280, "light"), (375, "dark"))),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = need_chromium()
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=flags)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """One of each mode, under a path as of a repository's pages."""
    found = {}
    servers = []
    for mode in MODES:
        out = tmp_path_factory.mktemp(mode) / "dist"
        words = () if mode == "test" else ("--site-url", f"https://shimmy-vision.app{BASE}")
        assert build(mode, out, "--base", BASE, *words) == 0
        servers.append(served(out, BASE))
        found[mode] = servers[-1].__enter__()
    yield found
    for server in servers:
        server.__exit__(None, None, None)


def _open(browser: Browser, **settings: Any) -> tuple[BrowserContext, Page, list[str]]:
    """A page, and what goes wrong on it: console, exceptions, requests to other places."""
    context = browser.new_context(**settings)
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    return context, page, wrong


@pytest.mark.parametrize(("name", "width", "scheme"), LOOKS)
def test_a_page_is_clean(
    browser: Browser, sites: dict[str, str], name: str, width: int, scheme: Any
) -> None:
    mode = "test" if scheme == "light" else "live"
    size: Any = {"width": width, "height": 900}
    context, page, wrong = _open(browser, viewport=size, color_scheme=scheme)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    answer = page.goto(sites[mode] + name, wait_until="networkidle")
    assert answer is not None
    missing = name == PAGES[-1]
    assert answer.status == (404 if missing else 200)
    # The browser itself reports the status of the page for unknown paths.
    assert [one for one in wrong if not missing or "404" not in one] == []
    assert {urlsplit(one).netloc for one in asked} == {urlsplit(sites[mode]).netloc}
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.styleSheets.length") == 2
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    shown = name.replace("/", "-").removesuffix(".html")
    page.screenshot(path=ARTIFACTS / f"{shown}-{width}-{scheme}.png", full_page=True)
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
    context.close()


def test_the_first_visit_is_small(browser: Browser, sites: dict[str, str]) -> None:
    context, page, _ = _open(browser)
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    page.goto(sites["test"], wait_until="networkidle")
    sizes = {one.url: len(one.body()) for one in answers}
    assert len(sizes) >= 4
    assert sum(sizes.values()) < 100_000
    context.close()


def test_everything_can_be_read_and_reached_without_javascript(
    browser: Browser, sites: dict[str, str]
) -> None:
    context, page, _ = _open(browser, java_script_enabled=False)
    page.goto(sites["test"])
    page.get_by_role("link", name="See the plans").click()
    page.wait_for_url("**/pricing.html")
    assert page.get_by_role("link", name="Buy Lifetime").is_visible()
    page.get_by_role("link", name="Docs").click()
    page.get_by_role("navigation", name="Documentation").get_by_role(
        "link", name="HTTP API"
    ).click()
    page.wait_for_url("**/docs/api.html")
    assert page.get_by_role("heading", level=1).inner_text() == "HTTP API"
    context.close()


def test_the_keyboard_skips_to_the_content_and_shows_where_it_is(
    browser: Browser, sites: dict[str, str]
) -> None:
    context, page, _ = _open(browser, viewport={"width": 1280, "height": 900})
    page.goto(sites["test"])
    page.keyboard.press("Tab")
    skip = page.locator(":focus")
    assert skip.inner_text() == "Skip to the content"
    box = skip.bounding_box()
    assert box is not None and box["width"] > 50 and box["y"] >= 0
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.id === 'content'")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "See the plans"
    seen = set()
    for _ in range(60):
        style = page.evaluate(
            "() => { const s = getComputedStyle(document.activeElement);"
            " return [document.activeElement.outerHTML.slice(0, 120), s.outlineStyle,"
            " parseFloat(s.outlineWidth)] }"
        )
        if style[0].startswith("<body"):
            break
        assert style[1] == "solid" and style[2] >= 2, style[0]
        seen.add(style[0])
        page.keyboard.press("Tab")
    buttons = [one for one in seen if "/buy?plan=" in one]
    assert len(buttons) == 5
    assert any('role="region"' in one for one in seen), "the JSON cannot be scrolled by keyboard"
    context.close()


def test_an_unknown_path_leads_back_from_any_depth(browser: Browser, sites: dict[str, str]) -> None:
    context, page, _ = _open(browser)
    page.goto(sites["test"] + "a/b/c/d")
    page.get_by_role("link", name="Front page").click()
    page.wait_for_url(sites["test"] + "index.html")
    context.close()
