"""The characters of a PDF's text layer, made into plain text: what is kept, what is garbage."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

_LIGATURES = {
    0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl", 0xFB05: "st",
    0xFB06: "st",
}  # fmt: skip
_SOFT_HYPHEN, _LINE_END_HYPHEN = "\u00ad", "\x02"  # the second is PDFium's for either kind
# Joiners shape Persian and Indic words and emoji; every other invisible character goes.
_JOINERS = "\u200c\u200d"
_NOT_TEXT = frozenset({"Cc", "Cn", "Co", "Cs"})

# A font without its table of characters yields nearly nothing else; a page of text with a few
# drawn symbols stays far below.
_MOST_BROKEN = 0.3
_MOST_BROKEN_IN_LINE = 0.5


class LayerCharacter(NamedTuple):
    """One character, in pixels of the rendered page, y downwards.

    (``x``, ``y``) is its origin on the baseline, (``along_x``, ``along_y``) the unit vector of its
    writing direction, ``size`` its font's size; ``left`` to ``bottom`` bound its ink. ``known`` is
    False where the font does not tell which character it is.
    """

    text: str
    known: bool
    x: float
    y: float
    along_x: float
    along_y: float
    size: float
    left: float
    top: float
    right: float
    bottom: float


def is_broken(character: LayerCharacter) -> bool:
    """Whether it stands for no text: private use, unassigned, or not known to its font."""
    text = character.text
    if text == _LINE_END_HYPHEN:
        return False
    return not character.known or text == "\ufffd" or unicodedata.category(text) in _NOT_TEXT


def is_space(character: LayerCharacter) -> bool:
    """Whether it is a blank or a line's end."""
    return character.text.isspace()


def is_readable(characters: Sequence[LayerCharacter]) -> bool:
    """Whether the layer of a page is text at all: letters or digits, and few broken characters."""
    inked = [one for one in characters if not is_space(one)]
    broken = sum(is_broken(one) for one in inked)
    wordy = any(one.text.isalnum() for one in inked)
    return wordy and broken <= _MOST_BROKEN * len(inked)


def plain_text(characters: Sequence[LayerCharacter]) -> str:
    """The text of one line as a reader would type it, in NFC; empty where too much is broken.

    Ligatures come apart, blanks of every kind are one space, soft hyphens stay only at the end.
    """
    inked = [one for one in characters if not is_space(one)]
    if sum(is_broken(one) for one in inked) > _MOST_BROKEN_IN_LINE * len(inked):
        return ""
    return clean("".join(one.text for one in characters if is_space(one) or not is_broken(one)))


def clean(text: str) -> str:
    """``text`` of one line without what only typesetting needs, in NFC. Cleaning twice is once."""
    line = " ".join(text.split())
    ends_soft = line.endswith((_SOFT_HYPHEN, _LINE_END_HYPHEN))
    kept = "".join(one for one in line.translate(_LIGATURES) if one in _JOINERS or _is_visible(one))
    normal = unicodedata.normalize("NFC", " ".join(kept.split()))
    return f"{normal}-" if ends_soft and normal else normal


def _is_visible(character: str) -> bool:
    return unicodedata.category(character) not in ("Cf", *_NOT_TEXT)
