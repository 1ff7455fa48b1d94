"""The page in a real Chromium: everybody can use it, in both themes, on a phone and a desk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from pictures import empty_picture, full_picture, unknown_picture
from playwright.sync_api import Browser

from shimmy_ops.adapters.monitoring.http_page_server import page_links
from shimmy_ops.adapters.monitoring.jinja_page import JinjaPage
from shimmy_ops.domain.monitoring.picture import Picture
from shimmy_sandbox.shopper.browser import open_browser
from shimmy_sandbox.shopper.refusal import ShopperError


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    try:
        opening = open_browser()
        opened = opening.__enter__()
    except ShopperError as problem:
        if os.environ.get("SHIMMY_TEST_CHROMIUM") == "required":
            pytest.fail(f"SHIMMY_TEST_CHROMIUM=required, but {problem}")
        pytest.skip(str(problem))
    yield opened
    opening.__exit__(None, None, None)


@pytest.mark.parametrize("make", [full_picture, empty_picture, unknown_picture])
def test_a_page_is_clean(browser: Browser, tmp_path: Path, make: Callable[[], Picture]) -> None:
    file = tmp_path / "page.html"
    links = page_links("24h", refreshing=False)
    file.write_text(JinjaPage().render(make(), links=links), encoding="utf-8")
    _look_closely(browser, file, 375, "light")
    _look_closely(browser, file, 1280, "dark")


def _look_closely(browser: Browser, file: Path, width: int, scheme: Any) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab = context.new_page()
    wrong: list[str] = []
    asked: list[str] = []
    tab.on("console", lambda said: wrong.append(said.text))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(file.as_uri())
    assert wrong == []
    assert [one for one in asked if not one.startswith("data:")] == [file.as_uri()]
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    results = Axe().run(tab)
    assert results.violations_count == 0, results.generate_report()
    context.close()


def test_the_style_is_applied_and_wide_tables_scroll_in_their_own_box(
    browser: Browser, tmp_path: Path
) -> None:
    file = tmp_path / "page.html"
    file.write_text(JinjaPage().render(full_picture()), encoding="utf-8")
    context = browser.new_context(viewport={"width": 375, "height": 800})
    tab = context.new_page()
    tab.goto(file.as_uri())
    box = tab.get_by_role("region", name="Objectives over the window")
    assert box.evaluate("one => one.scrollWidth > one.clientWidth")
    box.focus()
    assert box.evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
    line = tab.get_by_role("img", name="Error rate from").locator(".line").first
    assert line.evaluate("one => getComputedStyle(one).stroke") == "rgb(11, 94, 102)"
    context.close()
