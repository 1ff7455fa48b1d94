"""A page as values: elements and words with their lines, as a reader of HTML found them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Element:
    """``parent`` is a place in ``HtmlPage.elements``, -1 above the root. A bare attribute is ''."""

    tag: str
    attributes: Mapping[str, str]
    line: int
    parent: int

    def get(self, name: str) -> str:
        """The attribute's value, '' where there is none."""
        return self.attributes.get(name, "")

    def has_class(self, name: str) -> bool:
        """Whether it is one of its classes."""
        return name in self.get("class").split()


@dataclass(frozen=True, slots=True)
class Words:
    """A run of text, ``parent`` its element."""

    text: str
    line: int
    parent: int


@dataclass(frozen=True, slots=True)
class HtmlPage:
    """``path`` in the site. ``unbalanced``: lines and tags that open or close what is not there."""

    path: str
    elements: tuple[Element, ...]
    words: tuple[Words, ...]
    unbalanced: tuple[tuple[int, str], ...] = field(default=())

    def found(self, *tags: str) -> Iterator[Element]:
        """Elements of these tags, in the document's order."""
        return (one for one in self.elements if one.tag in tags)

    def around(self, place: int) -> Iterator[Element]:
        """The element at ``place`` and those that hold it, innermost first."""
        while place >= 0:
            yield self.elements[place]
            place = self.elements[place].parent

    def text_in(self, element: Element) -> str:
        """All its words, blanks collapsed."""
        pieces = (
            words.text
            for words in self.words
            if any(one is element for one in self.around(words.parent))
        )
        return " ".join("".join(pieces).split())

    def holds(self, outer: Element, inner: Element) -> bool:
        """Whether ``inner`` stands in ``outer``."""
        return any(one is outer for one in self.around(inner.parent))

    def names(self) -> frozenset[str]:
        """Every ``id``: what a link with ``#`` may lead to."""
        return frozenset(one.get("id") for one in self.elements if one.get("id"))
