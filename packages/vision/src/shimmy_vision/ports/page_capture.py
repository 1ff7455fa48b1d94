"""From a web page's URL to its picture and its interactive elements."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from shimmy_vision.domain.web.dom_elements import DomElement
from shimmy_vision.domain.web.visit import VisitLimits
from shimmy_vision.ports.cancellation import Cancellation


@dataclass(frozen=True, slots=True)
class PageLimits:
    """Seconds are bounds of waits, not waits; ``total_seconds`` holds for everything together.

    What is wider, taller or larger than the pixels given here is cut there.
    """

    load_seconds: float = 20.0
    idle_seconds: float = 5.0
    font_seconds: float = 3.0
    total_seconds: float = 60.0
    max_width: int = 8_000
    max_height: int = 16_000
    max_pixels: int = 60_000_000
    visit: VisitLimits = field(default_factory=VisitLimits)


@dataclass(frozen=True, slots=True)
class PageOrder:
    """``width`` and ``height`` of the viewport in CSS pixels.

    ``browser`` is an executable's path or name; None looks for the usual ones.
    """

    url: str
    width: int = 1280
    height: int = 800
    device_scale: float = 1.0
    full_page: bool = True
    browser: str | None = None
    limits: PageLimits = field(default_factory=PageLimits)


@dataclass(frozen=True, slots=True)
class PageCapture:
    """``width`` and ``height`` are the PNG's; ``status`` is HTTP's, None if there was no answer.

    ``elements`` in the document's order.
    ``notes`` tell in words what was cut, refused or given up.
    """

    png: bytes
    width: int
    height: int
    device_scale: float
    status: int | None
    title: str
    final_url: str
    elements: tuple[DomElement, ...]
    notes: tuple[str, ...]


class PageCamera(Protocol):
    """Visits one page with a browser of its own, which is gone when ``capture`` returns."""

    def capture(self, order: PageOrder, cancellation: Cancellation) -> PageCapture:
        """Raises UsageError: url-refused, url-offline, viewport-refused; ImageError: page-refused,
        page-unreachable, page-too-large, page-not-shown, page-crashed; LibraryError:
        playwright-missing, browser-missing, browser-failed; DeadlineError: page-timeout; or as
        ``cancellation``.
        """
        ...
