"""A JSON string read while it is still being written."""

from __future__ import annotations

import json
import re

from shimmy_vision.domain.answer.answer_reading import whole_characters

_UNIT = re.compile(r'[^"\\]+|\\u[0-9a-fA-F]{4}|\\[^u]')
_HIGH = re.compile(r"\\u[dD][89abAB]")


class StringDecoder:
    """Pieces of a JSON string, from its opening quote on, to pieces of the text that it spells.

    However it is cut, all pieces together are what ``read_answer`` makes of the whole.
    """

    def __init__(self) -> None:
        self._begun = self._ended = False
        self._held = ""

    def feed(self, piece: str) -> str:
        """What is certain now; what may still belong to a later character is held back."""
        self._held += piece
        if not self._begun:
            start = self._held.find('"')
            self._begun, self._held = start >= 0, self._held[start + 1 :]
        if not self._begun or self._ended:
            self._held = ""
            return ""
        sure = self._sure()
        written, self._held = self._held[:sure], self._held[sure:]
        self._ended = self._held.startswith('"')
        return whole_characters(json.loads(f'"{written}"', strict=False))

    def _sure(self) -> int:
        """How much of what is held can no longer be changed by what follows."""
        at = last = 0
        while (unit := _UNIT.match(self._held, at)) is not None:
            last, at = at, unit.end()
        # The first half of a surrogate pair waits for the second.
        waits = _HIGH.match(self._held, last) is not None and not self._held.startswith('"', at)
        return last if waits else at
