"""A Chromium of this machine without a window, and people who each have their own cookies."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from shimmy_sandbox.shopper.refusal import ShopperError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome")
# Chromium's own sandbox does not work for root, as whom containers run; it visits loopback only.
_FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    # Whatever a page asks for, no name is looked up: it would be another machine's.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
PATIENCE_SECONDS: Final = 20.0
DESKTOP: Final = (1280, 900)


def find_chromium() -> str:
    """Its path. Raises ShopperError with what to install where it or Playwright is missing."""
    if importlib.util.find_spec("playwright") is None:
        raise ShopperError(
            "playwright-missing",
            "Playwright, which drives a browser, is not installed: "
            "`pip install 'shimmy-sandbox[browser]'`; the browser itself is the system's",
        )
    found = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if found is None:
        raise ShopperError(
            "chromium-missing",
            f"none of {', '.join(_PROGRAMS)} is on the PATH; on Debian: `apt install chromium`",
        )
    return found


@contextmanager
def open_browser() -> Iterator[Browser]:
    """One browser for many people; ShopperError where it is missing or does not start."""
    program = find_chromium()
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=program, args=list(_FLAGS))
        except Error as problem:
            first = str(problem).partition("\n")[0]
            raise ShopperError("chromium-failed", f"{program} does not start: {first}") from problem
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_tab(browser: Browser, *, dark: bool = False, scripts: bool = True) -> Iterator[Page]:
    """The browser of somebody new: an empty jar of cookies, one tab."""
    context = browser.new_context(
        viewport={"width": DESKTOP[0], "height": DESKTOP[1]},
        color_scheme="dark" if dark else "light",
        java_script_enabled=scripts,
        permissions=["clipboard-read", "clipboard-write"],
    )
    try:
        context.set_default_timeout(PATIENCE_SECONDS * 1000)
        yield context.new_page()
    finally:
        context.close()


def stay_here(url: str) -> str:
    """``url`` if it is on this machine: no card number, real or not, is sent anywhere else."""
    if urlsplit(url).hostname not in _LOOPBACK:
        raise ShopperError("page-elsewhere", f"{url} is not on this machine: nothing is sent there")
    return url
