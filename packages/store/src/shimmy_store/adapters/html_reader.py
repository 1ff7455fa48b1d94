"""The ``HtmlReader`` port on the standard library's tolerant parser."""

from __future__ import annotations

from html.parser import HTMLParser

from shimmy_store.domain.site.html_page import Element, HtmlPage, Words

_VOID = frozenset(
    "area base br col embed hr img input link meta source track wbr".split()  # noqa: SIM905
)


class StandardHtmlReader:
    """See ``ports.site``."""

    def read(self, path: str, text: str) -> HtmlPage:
        reading = _Reading()
        reading.feed(text)
        reading.close()
        left = [
            (reading.elements[place].line, reading.elements[place].tag) for place in reading.open
        ]
        return HtmlPage(
            path, tuple(reading.elements), tuple(reading.words), (*reading.unbalanced, *left)
        )


class _Reading(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.words: list[Words] = []
        self.unbalanced: list[tuple[int, str]] = []
        self.open: list[int] = []

    @property
    def _parent(self) -> int:
        return self.open[-1] if self.open else -1

    def _add(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values: dict[str, str] = {}
        for name, value in attrs:
            # Browsers take the first of two attributes of one name.
            values.setdefault(name, value or "")
        self.elements.append(Element(tag, values, self.getpos()[0], self._parent))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._add(tag, attrs)
        if tag not in _VOID:
            self.open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._add(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        if self.open and self.elements[self.open[-1]].tag == tag:
            self.open.pop()
            return
        self.unbalanced.append((self.getpos()[0], tag))
        if any(self.elements[place].tag == tag for place in self.open):
            while self.elements[self.open.pop()].tag != tag:
                pass

    def handle_data(self, data: str) -> None:
        self.words.append(Words(data, self.getpos()[0], self._parent))

    def handle_comment(self, data: str) -> None:
        self.words.append(Words(data, self.getpos()[0], self._parent))
