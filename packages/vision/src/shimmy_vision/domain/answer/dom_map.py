"""A web page's interactive elements as they stand in a result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from shimmy_vision.domain.answer.result import box_json
from shimmy_vision.domain.web.dom_elements import DomElement, RootStep

Json: TypeAlias = dict[str, Any]


def dom_map(elements: Sequence[DomElement]) -> list[Json]:
    """In the document's order; boxes in pixels of the page's picture."""
    return [_element(one) for one in elements]


def where_json(element: DomElement) -> Json:
    """What finds ``element`` in its page; ``roots`` only inside frames and shadow trees."""
    roots = [_root(step) for step in element.roots]
    return {"selector": element.selector, **({"roots": roots} if roots else {})}


def _element(one: DomElement) -> Json:
    return {
        "tag": one.tag,
        "role": one.role,
        "name": one.name,
        "text": one.text,
        **where_json(one),
        "box": box_json(one.box),
        "attributes": dict(one.attributes),
        "foreground": one.foreground,
        "background": one.background,
        "contrast": one.contrast,
        "compliant": one.compliant,
    }


def _root(step: RootStep) -> Json:
    return {"kind": step.kind, "selector": step.selector}
