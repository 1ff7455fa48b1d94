"""Licence keys as they are quoted and shown: some characters known, the others left out.

A key is five groups of six characters and a version that everybody's has. Dashes, spaces and the
case of letters tell nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from shimmy_ops.errors import CustomerError

LEAST_KNOWN = 4
_GAP = re.compile(r"(?:…|\*|•|\.{2,})+")
_LEFT_OUT = re.compile(r"[\s\-\u2013\u2014]+")
_WHOLE = re.compile(r"[0-9A-F]{6}(?:-?[0-9A-F]{6}){4}-?V\d|KEY/[\w\-=.]{16,}", re.IGNORECASE)
_VERSION = re.compile(r"V\d$")
_FRAGMENT = re.compile(r"[0-9A-Z/_=]*")
_ALONE = re.compile(r"[0-9A-F]*(?:V\d)?")
_SHOWN = 6


def is_whole_key(text: str) -> bool:
    """Whether nothing is left out."""
    return _WHOLE.fullmatch(re.sub(r"\s+", "", text)) is not None


def looks_masked(text: str) -> bool:
    """Whether something is said to be left out."""
    return _GAP.search(text) is not None


def mask_key(key: str) -> str:
    """What may be shown: the first group, and the last before the version."""
    groups = key.split("-")
    if is_whole_key(key) and len(groups) > 2:
        return f"{groups[0]}-…-{groups[-2]}-{groups[-1]}"
    return f"{key[:_SHOWN]}…"


@dataclass(frozen=True, slots=True)
class KeyMask:
    """``pieces`` are in their order; the first and the last stand at the key's ends, unless empty.

    An empty piece stands for a gap at an end.
    """

    pieces: tuple[str, ...]

    def matches(self, key: str) -> bool:
        """Whether the key has these pieces, in this order."""
        text = _plain(key)
        first, *middle, last = self.pieces
        if not text.startswith(first):
            return False
        place = len(first)
        for piece in middle:
            found = text.find(piece, place)
            if found < 0:
                return False
            place = found + len(piece)
        return text.endswith(last) and len(text) - len(last) >= place


def parse_mask(text: str) -> KeyMask:
    """A quoted key. Raises CustomerError where too little of it is known, or it is none.

    A piece alone, with nothing said to be left out, may stand anywhere.
    """
    pieces = [_plain(one) for one in _GAP.split(text)]
    if len(pieces) == 1 and not _ALONE.fullmatch(pieces[0]):
        raise _not_understood()
    if len(pieces) == 1:
        pieces = ["", pieces[0], ""]
    if not all(_FRAGMENT.fullmatch(one) for one in pieces):
        raise _not_understood()
    known = sum(len(_VERSION.sub("", one)) for one in pieces)
    if known < LEAST_KNOWN:
        raise CustomerError(
            "key-too-short",
            f"Of a key at least {LEAST_KNOWN} characters must be known, beside its version.",
            hint="Ask the customer for the first and the last group.",
        )
    return KeyMask(tuple(pieces))


def _plain(text: str) -> str:
    return _LEFT_OUT.sub("", text).upper()


def _not_understood() -> CustomerError:
    return CustomerError(
        "sought-not-understood",
        "That is no address, masked key, checkout session, customer, subscription or licence id.",
        hint="A key is quoted with … or * for what is left out, for example 1A2B3C-…-9F8E7D-V3.",
    )
