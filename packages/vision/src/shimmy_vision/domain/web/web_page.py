"""What is known of a web page beside its picture."""

from __future__ import annotations

from dataclasses import dataclass

from shimmy_vision.domain.web.dom_elements import DomElement


@dataclass(frozen=True, slots=True)
class WebPage:
    """``width`` and ``height`` of the viewport in CSS pixels; ``status`` None if none was told.

    ``url`` is where it was found in the end; ``notes`` tell what was cut, refused or given up.
    """

    url: str
    title: str
    status: int | None
    width: int
    height: int
    device_scale: float
    full_page: bool
    notes: tuple[str, ...]
    elements: tuple[DomElement, ...]
