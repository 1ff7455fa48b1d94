"""What the model saw on a web page against what the page says of itself.

The model names what matters; the document knows exactly where it is. Where both speak of the same
element, by its name and its kind, the exact box and a selector take the place of the tile's.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from shimmy_vision.domain.answer.dom_map import dom_map, where_json
from shimmy_vision.domain.answer.result import box_json
from shimmy_vision.domain.web.dom_elements import DomElement

Json: TypeAlias = dict[str, Any]

_WORD = re.compile(r"[^\W_]+")
# How people speak of a thing's kind, which is no part of its name: "the Sign in button".
_KIND_WORDS = frozenset(
    (
        *("the", "a", "an", "button", "btn", "link", "input", "field", "box", "textbox", "text"),
        *("area", "textarea", "checkbox", "check", "radio", "option", "toggle", "switch", "bar"),
        *("select", "dropdown", "drop", "down", "selector", "slider", "tab", "menu", "item"),
        *("icon", "image", "logo", "card", "list"),
    )
)

# What the model's kinds are called by browsers, as roles or tags; then what they are easily taken
# for, where only a name that is nearly the same counts.
_KINDS: Mapping[str, tuple[str, str]] = {
    "button": ("button summary", "link a tab menuitem combobox switch"),
    "link": ("link a area", "button tab menuitem treeitem"),
    "input": ("textbox searchbox spinbutton input textarea", "combobox"),
    "checkbox": ("checkbox menuitemcheckbox", "switch label"),
    "radio": ("radio menuitemradio", "label option"),
    "toggle": ("switch", "checkbox button label"),
    "select": ("combobox listbox select", "button textbox"),
    "slider": ("slider", "spinbutton"),
    "tab": ("tab", "link a button"),
    "menu": ("menuitem combobox", "button link a summary"),
    "icon": ("button link a", "menuitem tab"),
    "image": ("img", "link a button"),
    "card": ("", "link a button"),
    "other": ("", "button link a textbox combobox option treeitem summary audio video"),
}  # fmt: skip
# Inputs of these kinds are something else than fields to write in.
_BUTTON_INPUTS = frozenset(("button", "submit", "reset", "image", "file", "color"))
_NOT_WRITTEN_IN = _BUTTON_INPUTS | {"checkbox", "radio", "range"}

# A wrong exact box is worse than a tile's: "Sign in" and "Sign up" are 0.67 alike.
_ALIKE, _NEARLY_SAME = 0.75, 0.85
_NOT_EQUAL = 0.99  # the most that names which differ are alike: the equal one wins
_KIND_BONUS = 0.05  # between names as like, the right kind wins


@dataclass(frozen=True, slots=True)
class _Name:
    """A name's words, the pairs of neighbouring letters in them, and those that hold digits."""

    text: str
    pairs: frozenset[str]
    numbers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Named:
    """What an element is called, in every way, and what it is."""

    kinds: frozenset[str]
    names: tuple[_Name, ...]


def add_elements(result: Json, elements: Sequence[DomElement]) -> Json:
    """``result`` with a web page's ``elements``: in its layout if it has one, and as ``dom_map``

    before ``meta``.
    """
    fused = {name: part for name, part in result.items() if name != "meta"}
    if "layout" in fused:
        layout = fused["layout"]
        seen = fuse_elements(layout["key_ui_elements"], elements)
        fused["layout"] = {**layout, "key_ui_elements": seen}
    return {**fused, "dom_map": dom_map(elements), "meta": result["meta"]}


def fuse_elements(seen: Sequence[Json], found: Sequence[DomElement]) -> list[Json]:
    """``seen``, the result's ``key_ui_elements``, each with its ``source``.

    What is matched has ``box``, ``selector`` and perhaps ``roots`` of the page's element.
    """
    matches = match_elements([(one["name"], one["element_type"]) for one in seen], found)
    fused = []
    for one, match in zip(seen, matches, strict=True):
        if match is None:
            fused.append({**one, "source": "model"})
        else:
            exact = found[match]
            fused.append({**one, "box": box_json(exact.box), "source": "dom", **where_json(exact)})
    return fused


def match_elements(
    seen: Sequence[tuple[str, str]], found: Sequence[DomElement]
) -> list[int | None]:
    """For each name and kind in ``seen`` the index of the one of ``found`` that it is.

    No element is given twice. The best agreement first; among equals those that come first.
    """
    named = [_Named(_kinds_of(one), _names_of(one)) for one in found]
    agreements = sorted(
        (-score, place, index)
        for place, (name, kind) in enumerate(seen)
        for index, score in _candidates(name, kind, named)
    )
    matches: list[int | None] = [None] * len(seen)
    taken: set[int] = set()
    for _, place, index in agreements:
        if matches[place] is None and index not in taken:
            matches[place] = index
            taken.add(index)
    return matches


def _candidates(text: str, kind: str, named: Sequence[_Named]) -> Iterator[tuple[int, float]]:
    exactly, nearly = (frozenset(words.split()) for words in _KINDS.get(kind, ("", "")))
    name = _read_name(text)
    if name is None:
        return
    for index, one in enumerate(named):
        fits = bool(one.kinds & exactly)
        if not fits and not one.kinds & nearly:
            continue
        alike = max((_similarity(name, other) for other in one.names), default=0.0)
        if alike >= (_ALIKE if fits else _NEARLY_SAME):
            yield index, round(alike + (_KIND_BONUS if fits else 0.0), 6)


def _similarity(one: _Name, other: _Name) -> float:
    """Dice: twice the pairs that both have, of all that each has. 1 for the same name."""
    if one.text == other.text:
        return 1.0
    if one.numbers != other.numbers:
        return 0.0  # Page 1 is not page 2, however alike.
    shared = 2 * len(one.pairs & other.pairs) / (len(one.pairs) + len(other.pairs))
    return min(shared, _NOT_EQUAL)


def _names_of(element: DomElement) -> tuple[_Name, ...]:
    given = (
        element.name,
        element.text,
        *(element.attributes.get(one, "") for one in ("placeholder", "aria-label", "alt", "title")),
    )
    return tuple(dict.fromkeys(one for one in map(_read_name, given) if one is not None))


def _kinds_of(element: DomElement) -> frozenset[str]:
    of_input = element.attributes.get("type", "").lower()
    tag = element.tag
    if tag == "input" and of_input in _NOT_WRITTEN_IN:
        tag = "button" if of_input in _BUTTON_INPUTS else element.role
    if tag == "button" and element.role not in ("", "button"):
        tag = element.role  # A tab made of a button is a tab.
    return frozenset(one for one in (tag, element.role) if one)


def _read_name(name: str) -> _Name | None:
    """Its letters and digits, without words for its kind unless it has no others."""
    words = _WORD.findall(unicodedata.normalize("NFKC", name).casefold())
    telling = [word for word in words if word not in _KIND_WORDS] or words
    if not telling:
        return None
    text = f" {' '.join(telling)} "
    pairs = frozenset(text[at : at + 2] for at in range(len(text) - 1))
    return _Name(text, pairs, tuple(word for word in telling if any(map(str.isdigit, word))))
