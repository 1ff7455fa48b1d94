"""A PDF's own text against what the model read: the exact one stands, the rest is the model's.

The model sees everything on the page, the text layer only what was set as text. What both know
stands in the result once, as the layer has it; what only the model knows (text in pictures)
stays the model's.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shimmy_vision.domain.image.pixels import Box
from shimmy_vision.domain.image.text_layer import LayerLine
from shimmy_vision.domain.image.text_merge import ReadText

# Scripts written without spaces count letter by letter.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)
_TOKEN = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\W_])+")

# A block is known if so much of it is, by letters: the model may misread a word of a line.
_ENOUGH = 0.75
# Words between these lengths may differ in one letter; shorter ones are too often other words.
_SHORTEST_MISREAD, _LONGEST_MISREAD = 4, 40
_MOST_ALIKE = 8

# Fewer words tell nothing; the model reads most of a true layer's.
_LEAST_WORDS = 20
_DOUBTFUL = 0.2


@dataclass(frozen=True, slots=True)
class SettledTexts:
    """``doubtful``: the model read much, and hardly a word of it stands in the layer."""

    texts: tuple[ReadText, ...]
    doubtful: bool


def settle_texts(layer: Sequence[LayerLine], read: Sequence[ReadText]) -> SettledTexts:
    """The layer's lines in their order, then what only the model read, in its order.

    Each word of the layer confirms at most one reading of each tile. Without a layer everything
    stays as it was read.
    """
    if not layer:
        return SettledTexts(tuple(read), doubtful=False)
    known: dict[Box, _Known] = {}
    unknown = []
    for text in read:
        if text.box not in known:
            known[text.box] = _Known([line for line in layer if _touch(line.box, text.box)])
        if not known[text.box].confirm(text.text):
            unknown.append(text)
    words = sum(one.asked for one in known.values())
    found = sum(one.found for one in known.values())
    exact = (ReadText(line.text, 1.0, line.box, "pdf") for line in layer)
    return SettledTexts(
        (*exact, *unknown), doubtful=words >= _LEAST_WORDS and found < _DOUBTFUL * words
    )


class _Known:
    """The words of the layer in one tile, each to be used up once."""

    def __init__(self, lines: Sequence[LayerLine]) -> None:
        words = [word for line in lines for word in _words(line.text)]
        self._running = _phrase(words)
        self._used: Counter[str] = Counter()
        self._free = Counter(words)
        self._misread: dict[str, list[str]] = {}
        for word in self._free:
            for form in _one_letter_less(word):
                alike = self._misread.setdefault(form, [])
                if len(alike) < _MOST_ALIKE:
                    alike.append(word)
        self.asked = 0
        self.found = 0

    def confirm(self, text: str) -> bool:
        """Whether the layer has ``text``, give or take a misread letter or word."""
        words = _words(text)
        if not words:
            return False
        phrase = _phrase(words)
        whole = self._used[phrase] < self._running.count(phrase)
        self._used[phrase] += whole
        matched = [word for word in words if self._take(word)]
        self.asked += len(words)
        self.found += len(matched)
        letters = sum(map(len, words))
        return whole or (
            letters >= _SHORTEST_MISREAD and sum(map(len, matched)) >= _ENOUGH * letters
        )

    def _take(self, word: str) -> bool:
        at_hand = next((one for one in self._alike(word) if self._free[one] > 0), None)
        if at_hand is None:
            return False
        self._free[at_hand] -= 1
        return True

    def _alike(self, word: str) -> Iterator[str]:
        yield word
        for form in _one_letter_less(word):
            yield from self._misread.get(form, ())


def _words(text: str) -> list[str]:
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())


def _phrase(words: Sequence[str]) -> str:
    return "".join(f" {word} " for word in words)


def _one_letter_less(word: str) -> list[str]:
    """``word`` and all it becomes without one letter: two words that share one are alike."""
    if not _SHORTEST_MISREAD <= len(word) <= _LONGEST_MISREAD:
        return []
    return [word, *(word[:at] + word[at + 1 :] for at in range(len(word)))]


def _touch(one: Box, other: Box) -> bool:
    return (
        one.x < other.right
        and other.x < one.right
        and one.y < other.bottom
        and other.y < one.bottom
    )
