"""A person who looks closely: pictures of a page, whether it fits, whether everybody can use it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from street import ROOT

from shimmy_sandbox.shopper.browser import DESKTOP, find_chromium
from shimmy_sandbox.shopper.camera import Camera
from shimmy_sandbox.shopper.refusal import ShopperError

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page

PICTURES = ROOT / "artifacts/screenshots"
# Hosted pages are Stripe's in real life: theirs to be judged, and ours only to fit.
_HOSTED = ("/c/pay/", "/p/session/", "/i/")


def need_chromium() -> None:
    """Skips the test where there is none, unless the environment requires it."""
    try:
        find_chromium()
    except ShopperError as problem:
        if os.environ.get("SHIMMY_TEST_CHROMIUM") == "required":
            pytest.fail(f"SHIMMY_TEST_CHROMIUM=required, but {problem}")
        pytest.skip(str(problem))


@dataclass
class Eyes:
    """Each page is looked at once, under its name; what is wrong with it fails there and then."""

    folder: Path = PICTURES
    seen: set[str] = field(default_factory=set)

    def look(self, tab: Page, name: str) -> None:
        """Both widths hold the page, and axe finds nothing in light or dark."""
        if name in self.seen:
            return
        self.seen.add(name)
        spilling = Camera(self.folder).take(tab, name)
        assert all(pixels <= 0 for pixels in spilling.values()), f"{name} is too wide: {spilling}"
        if any(part in tab.url for part in _HOSTED):
            return
        # Colours on their way from one scheme to the other are nobody's: nothing moves here.
        tab.emulate_media(color_scheme="dark", reduced_motion="reduce")
        tab.screenshot(path=self.folder / f"{name}-{DESKTOP[0]}-dark.png", full_page=True)
        told = {"dark": violations(tab)}
        tab.emulate_media(color_scheme="light", reduced_motion="reduce")
        told["light"] = violations(tab)
        tab.emulate_media(color_scheme="light", reduced_motion="no-preference")
        assert told == {"dark": "", "light": ""}, f"{name}: {told}"


def violations(tab: Page) -> str:
    """What axe-core finds wrong with a page, in its words; empty when nothing."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(tab)
    return str(found.generate_report()) if found.violations_count else ""


@dataclass
class Complaints:
    """What a tab's pages complain about: scripts that fail, what the page's own policy refused."""

    heard: list[str] = field(default_factory=list)

    def listen(self, tab: Page) -> None:
        """From now on."""
        tab.on("pageerror", lambda error: self.heard.append(str(error)))
        tab.on("console", self._note)

    def _note(self, message: ConsoleMessage) -> None:
        # A status that is no success is told, too: the page that says it is looked at elsewhere.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.heard.append(message.text)
