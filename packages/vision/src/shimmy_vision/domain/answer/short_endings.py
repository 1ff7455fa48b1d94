"""All short ways from a place in a grammar to a whole answer, tried shortest first.

Of bytes within a string only those are told apart after which something else is allowed: the
hundred letters of a name are one way on, not a hundred. Numbers are tried digit by digit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from shimmy_vision.domain.answer.string_place import QUOTE, StringPlace

_DEEPEST = 24
_WIDEST_STRINGS, _WIDEST_NUMBERS = 24, 1500
_MOST = 6000  # places looked at


class _Grammar(Protocol):
    def allowed(self) -> Sequence[int]: ...

    def is_complete(self) -> bool: ...

    def push(self, data: bytes) -> int: ...

    def pop(self, count: int) -> None: ...


def find_ending(
    grammar: _Grammar, place: StringPlace, may_go_on: Callable[[], bool]
) -> tuple[bytes | None, bool]:
    """The shortest ending found, and whether it is proven that there is none.

    The grammar stands afterwards where it stood before.
    """
    return _Search(grammar, may_go_on).run(place)


class _Search:
    def __init__(self, grammar: _Grammar, may_go_on: Callable[[], bool]) -> None:
        self._grammar, self._may_go_on = grammar, may_go_on
        self._left = _MOST
        self._whole = True  # nothing was left out so far

    def run(self, place: StringPlace) -> tuple[bytes | None, bool]:
        level = [(b"", place)]
        for _ in range(_DEEPEST):
            following: list[tuple[bytes, StringPlace]] = []
            for path, here in level:
                if self._left <= 0 or not self._may_go_on():
                    return None, False
                found = self._step(path, here, following)
                if found is not None:
                    return found, False
            if not following:
                return None, self._whole
            level = self._narrow(following)
        return None, False

    def _step(
        self, path: bytes, place: StringPlace, following: list[tuple[bytes, StringPlace]]
    ) -> bytes | None:
        """What follows ``path``, added to ``following``; a whole ending if one shows itself."""
        grammar = self._grammar
        if grammar.push(path) != len(path):  # It was allowed before: a limit of the grammar's own.
            self._whole = False
            return None
        known: set[tuple[int, ...]] = set()
        try:
            for byte in _quote_first(grammar.allowed()):
                self._left -= 1
                if grammar.push(bytes([byte])) != 1:
                    self._whole = False
                    continue
                complete, after = grammar.is_complete(), tuple(grammar.allowed())
                grammar.pop(1)
                if complete:
                    return path + bytes([byte])
                if place.inside and after in known:
                    self._whole = False
                    continue
                known.add(after)
                following.append((path + bytes([byte]), place.after(byte)))
        finally:
            grammar.pop(len(path))
        return None

    def _narrow(
        self, following: list[tuple[bytes, StringPlace]]
    ) -> list[tuple[bytes, StringPlace]]:
        inside = sum(place.inside for _, place in following)
        widest = _WIDEST_STRINGS if inside * 2 > len(following) else _WIDEST_NUMBERS
        if len(following) > widest:
            self._whole = False
        return following[:widest]


def _quote_first(choices: Sequence[int]) -> Sequence[int]:
    return sorted(choices, key=lambda byte: byte != QUOTE)
