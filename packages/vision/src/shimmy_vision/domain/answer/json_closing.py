"""Finish a JSON answer that was cut anywhere, so that it is valid under its schema.

The grammar is asked byte by byte what may come next. Because every byte is one the grammar allows,
the result is valid by construction; the search only has to end. From each cut it tries a walk that
takes the byte which leads out soonest, then all short endings (``short_endings``), then walks that
guess. Where nothing leads out of the cut, earlier cuts are tried, down to the empty answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from shimmy_vision.domain.answer.short_endings import find_ending
from shimmy_vision.domain.answer.string_place import QUOTE, StringPlace, place_after

_BACKSLASH = ord("\\")
# Outside strings: leave, then move on, then the shortest values, then deeper nesting.
_WAYS_OUT = b'}],:"nft0123456789-.eE[{'
# The longest ending that is written; ``schema_bounds`` refuses schemas that need a longer answer.
LONGEST_ENDING = 20_000
_SHORT = 400
_SHARES_OF_WORDS, _SHARE_OF_LETTERS = (0.7, 1.0), 0.8
_SIGNS = b"@:/.-"


class ByteGrammar(Protocol):
    """A schema's grammar over single bytes, with an undo."""

    def allowed(self) -> Sequence[int]:
        """Bytes that may come next."""
        ...

    def is_complete(self) -> bool:
        """Whether the bytes so far are a whole answer."""
        ...

    def push(self, data: bytes) -> int:
        """Consume as many bytes as are allowed; how many."""
        ...

    def pop(self, count: int) -> None:
        """Undo the last ``count`` bytes."""
        ...


class Closing(NamedTuple):
    """``whole`` is None where no way out was found; only if ``proven`` there is none at all."""

    whole: bytes | None
    proven: bool = False


def close_json(
    prefix: bytes,
    grammar: ByteGrammar,
    may_go_on: Callable[[], bool],
    words: Sequence[bytes] = (),
) -> Closing:
    """The shortest way found from ``prefix`` (a fresh ``grammar``) to a whole answer.

    Ends soon after ``may_go_on`` says no, which may also raise. ``words`` are guesses of what has
    to stand in strings.
    """
    prefix = trim_partial_character(prefix)
    kept = grammar.push(prefix)
    while True:
        closing = _close_here(prefix[:kept], grammar, words, may_go_on)
        if closing.whole is not None or kept == 0 or not may_go_on():
            return closing if kept == 0 else Closing(closing.whole)
        earlier = kept // 2
        grammar.pop(kept - earlier)
        kept = earlier


def trim_partial_character(prefix: bytes) -> bytes:
    """Without a UTF-8 sequence or a backslash escape that was cut in the middle."""
    text = prefix.decode("utf-8", errors="ignore").encode()
    tail = text[-6:]
    at = tail.rfind(b"\\")
    if at < 0:
        return text
    start = len(text) - len(tail) + at
    run = len(text[: start + 1]) - len(text[: start + 1].rstrip(b"\\"))
    if run % 2 == 0:  # the backslash is itself escaped
        return text
    escape = text[start + 1 :]
    whole = len(escape) >= 5 if escape.startswith(b"u") else len(escape) >= 1
    return text if whole else text[:start]


def _close_here(
    prefix: bytes, grammar: ByteGrammar, words: Sequence[bytes], may_go_on: Callable[[], bool]
) -> Closing:
    """Every way to search from ``prefix``, where the grammar stands before and after."""
    place = place_after(prefix)
    proven = False
    for number, (longest, chooser) in enumerate(_walks(words)):
        ending = _walk(grammar, place, chooser, longest, may_go_on)
        if ending is None and number == 0:
            ending, proven = find_ending(grammar, place, may_go_on)
        if ending is not None:
            return Closing(prefix + ending)
        if proven or not may_go_on():
            break
    return Closing(None, proven)


def _walks(words: Sequence[bytes]) -> Iterator[tuple[int, _Chooser]]:
    """Each with the longest way it may go: none has the time of those after it."""
    yield _SHORT, _Leaving()
    # By number, so that the same question has the same ending.
    yield from ((_SHORT, _Guessing(random.Random(seed), words)) for seed in range(6))  # noqa: S311
    yield LONGEST_ENDING, _Leaving()
    # As above.
    yield from ((LONGEST_ENDING, _Guessing(random.Random(seed), words)) for seed in (6, 7))  # noqa: S311


class _Chooser(Protocol):
    """What to write next, of which at least the first byte is one of ``choices``."""

    def in_string(self, choices: Sequence[int]) -> bytes: ...

    def outside(self, choices: Sequence[int]) -> bytes: ...


def _walk(
    grammar: ByteGrammar,
    place: StringPlace,
    chooser: _Chooser,
    longest: int,
    may_go_on: Callable[[], bool],
) -> bytes | None:
    """Bytes to completion, or None; the grammar is back where it was."""
    added = bytearray()
    while not (complete := grammar.is_complete()):
        choices = grammar.allowed()
        if not choices or len(added) >= longest or not may_go_on():
            break
        chosen = chooser.in_string(choices) if place.inside else chooser.outside(choices)
        taken = chosen[: grammar.push(chosen)]
        if not taken:
            break
        added += taken
        place = place_after(taken, place)
    grammar.pop(len(added))
    return bytes(added) if complete else None


class _Leaving:
    """Takes what was not allowed a step before, and then what it took least often.

    A pattern's next part shows itself by a byte that was not allowed until now: the ``@`` after a
    name, the ``:`` after a scheme. Taking turns gets through those that only count.
    """

    def __init__(self) -> None:
        self._before: frozenset[int] = frozenset()
        self._taken = dict[int, int]()

    def in_string(self, choices: Sequence[int]) -> bytes:
        if QUOTE in choices:
            return b'"'
        plain = [byte for byte in choices if byte != _BACKSLASH] or list(choices)
        new = [byte for byte in plain if byte not in self._before] if self._before else []
        times = self._taken
        # A sign begins the next part sooner than a letter does; each has its turn.
        sign = 1 if new or len(times) % 2 else 0
        byte = min(
            new or plain,
            key=lambda one: (times.get(one, 0), abs(_strangeness(one) - sign), one not in _SIGNS),
        )
        self._before = frozenset(choices)
        times[byte] = times.get(byte, 0) + 1
        return bytes([byte])

    def outside(self, choices: Sequence[int]) -> bytes:
        self._before, self._taken = frozenset(), {}
        return bytes([next((byte for byte in _WAYS_OUT if byte in choices), choices[0])])


class _Guessing:
    """Any letter will do, or any digit, until one does; ``words`` may have to stand there."""

    def __init__(self, rng: random.Random, words: Sequence[bytes]) -> None:
        self._rng, self._words = rng, words
        self._share_of_words = rng.choice(_SHARES_OF_WORDS)

    def in_string(self, choices: Sequence[int]) -> bytes:
        if QUOTE in choices:
            return b'"'
        words = [word for word in self._words if word[0] in choices]
        if words and self._rng.random() < self._share_of_words:
            return self._rng.choice(words)
        plain = [byte for byte in choices if byte != _BACKSLASH]
        letters = [byte for byte in plain if _strangeness(byte) == 0]
        # Now and then anything at all: what leads out may be no letter.
        pool = letters if letters and self._rng.random() < _SHARE_OF_LETTERS else plain
        return bytes([self._rng.choice(pool or list(choices))])

    def outside(self, choices: Sequence[int]) -> bytes:
        best = [byte for byte in _WAYS_OUT if byte in choices]
        if not best:
            return bytes([self._rng.choice(list(choices))])
        digits = [byte for byte in best if chr(byte).isdigit()]
        return bytes([self._rng.choice(digits) if best[0] in digits else best[0]])


def _strangeness(byte: int) -> int:
    """Letters and digits first, then signs, and only then bytes that begin longer characters."""
    if byte >= 0x80:
        return 2
    return 0 if chr(byte).isalnum() else 1
