"""Pictures of pages as a phone and as a desk show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shimmy_sandbox.shopper.browser import DESKTOP

if TYPE_CHECKING:
    from playwright.sync_api import Page

WIDTHS: Final[Mapping[int, int]] = {375: 812, DESKTOP[0]: DESKTOP[1]}
"""The widths that pages are looked at, with the height of such a screen."""
_SPILLING: Final = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@dataclass(frozen=True, slots=True)
class Camera:
    """Writes ``NAME-WIDTH.png`` into ``folder``, the whole length of a page; None: it is off."""

    folder: Path | None = None

    def take(self, page: Page, name: str) -> dict[int, int]:
        """A picture at each width; by how many pixels the page is too wide for it."""
        spilling = {}
        for width, height in WIDTHS.items():
            page.set_viewport_size({"width": width, "height": height})
            spilling[width] = int(page.evaluate(_SPILLING))
            if self.folder is not None:
                # What moves is drawn at its end; pictures of the same page are the same.
                page.screenshot(
                    path=self.folder / f"{name}-{width}.png", full_page=True, animations="disabled"
                )
        return spilling
