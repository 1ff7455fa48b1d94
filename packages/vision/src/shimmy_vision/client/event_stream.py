"""Server-sent events, read from pieces of bytes wherever they happen to be cut."""

from __future__ import annotations

import codecs
from collections.abc import Iterator


class EventStream:
    """Follows WHATWG's rules for ``text/event-stream``; ids and retry times are of no use here."""

    def __init__(self) -> None:
        # Drops one leading byte order mark, as the rules say.
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self._after_return = False
        self._line: list[str] = []
        self._name = ""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> Iterator[tuple[str, str]]:
        """(name, data) of each event that ``piece`` completes."""
        for line in self._lines(self._decoder.decode(piece)):
            if line:
                self._field(line)
                continue
            name, data = self._name or "message", self._data
            self._name, self._data = "", []
            if data:
                yield name, "\n".join(data)

    def _lines(self, text: str) -> Iterator[str]:
        """Whole lines; a return and a line feed are one end although a piece may end between."""
        if not text:
            return
        if self._after_return:
            text = text.removeprefix("\n")
        self._after_return = text.endswith("\r")
        first, *others = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        # Pieces of one long line are joined once, not at each piece.
        self._line.append(first)
        for following in others:
            yield "".join(self._line)
            self._line = [following]

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._name = value
        elif name == "data":
            self._data.append(value)
