"""A byte-level vocabulary of a real model's size, the same every time.

Frequent English words and JSON's own pieces come first, then made-up words, each with all its
beginnings, so that merges are short and the tokenizer packs common text as a real one does.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

CONTROL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "</image>",
    "<slice>", "</slice>", "<think>", "</think>",
)  # fmt: skip

_WORDS = """
the of and to a in is it you that he was for on are with as his they be at one have this from or had
by hot but some what there we can out other were all your when up use word how said an each she
which do their time if will way about many then them would write like so these her long make thing
see him two has look more day could go come did my sound no most number who over know water than
call first people may down side been now find any new work part take get place made live where after
back little only round man year came show every good me give our under name very through just form
image text color colour page button link menu header footer layout table list title label value type
region regions element elements kind role state box summary description content heading paragraph
theme palette contrast dark light background foreground confidence language words line lines top
left right bottom center width height screenshot form field input checkbox search icon navigation
sidebar toolbar dialog window tab chart diagram photo logo brand error warning info success answer
question true false null string number integer object array json schema mode brief full custom
"""
_PIECES = [
    '{"', '":', '":"', '","', '"}', '"]', '":[', '":[{"', '"},{"', '":{"', '"}]', "},", "],",
    '": "', '", "', '": [', '": {', "  ", "    ", "        ", "\n", "\n\n", "\n  ", ", ", ". ",
]  # fmt: skip
_SYLLABLES = [
    c + v for c in "bcdfghjklmnprstvwz" for v in ("a", "e", "i", "o", "u", "ai", "or", "en")
]


def make_vocabulary(size: int) -> tuple[list[str], list[str]]:
    """``size`` tokens, the control tokens last, and the merges that build them."""
    letters = _byte_letters()
    tokens = [letters[byte] for byte in range(256)]
    known = set(tokens)
    merges: list[str] = []
    room = size - len(CONTROL_TOKENS)
    for word in _words():
        spelled = "".join(letters[byte] for byte in word.encode())
        for end in range(2, len(spelled) + 1):
            if len(tokens) == room:
                return [*tokens, *CONTROL_TOKENS], merges
            if spelled[:end] not in known:
                known.add(spelled[:end])
                tokens.append(spelled[:end])
                merges.append(f"{spelled[: end - 1]} {spelled[end - 1]}")
    raise AssertionError("the words never end")


def _words() -> Iterator[str]:
    yield from _PIECES
    for word in _WORDS.split():
        yield from (word, f" {word}", word.capitalize(), f" {word.capitalize()}")
    chance = random.Random(0)
    while True:
        word = "".join(chance.choices(_SYLLABLES, k=chance.randint(2, 4)))
        yield from (word, f" {word}")


def _byte_letters() -> dict[int, str]:
    """GPT-2's printable stand-in for every byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in letters)
    letters.update({byte: chr(256 + index) for index, byte in enumerate(others)})
    return letters
