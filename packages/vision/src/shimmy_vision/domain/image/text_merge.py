"""Text read from several tiles, each line once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from shimmy_vision.domain.image.image_plan import Tile
from shimmy_vision.domain.image.pixels import Box

# Shorter remnants of a cut line are too likely to stand in another line by chance.
_SHORTEST_FRAGMENT = 4


TextSource: TypeAlias = Literal["model", "pdf"]


@dataclass(frozen=True, slots=True)
class ReadText:
    """A text, how sure the model was of it, and the tile it was read in.

    From a PDF's own text: the confidence is 1 and the box that of the ink.
    """

    text: str
    confidence: float
    box: Box
    source: TextSource = "model"


def merge_tile_texts(
    per_tile: Sequence[tuple[Tile, Sequence[ReadText]]],
) -> list[ReadText]:
    """All texts in tile order without those that an overlapping neighbour read as well.

    Where tiles overlap, the same line may be read twice; where they overlap side
    by side, it may also be whole in one and cut in the other: the left tile then
    holds its beginning or the right one its end, and the whole line stays. Tiles
    that only touch share no text, so equal texts in them are both kept. Each text
    of one tile is used up by at most one text of another.
    """
    kept: list[tuple[Tile, list[ReadText]]] = []
    for tile, texts in per_tile:
        mine: list[ReadText] = list(texts)
        for earlier, theirs in kept:
            if _overlap(tile.box, earlier.box):
                mine = _without_repeats(mine, theirs, _sides(earlier.box, tile.box))
        kept.append((tile, mine))
    return [text for _, texts in kept for text in texts]


_Sides: TypeAlias = Literal["theirs left", "theirs right", "stacked"]


def _sides(theirs: Box, mine: Box) -> _Sides:
    """How two overlapping tiles lie: only a cut between left and right takes lines apart."""
    shared_width = min(theirs.right, mine.right) - max(theirs.x, mine.x)
    shared_height = min(theirs.bottom, mine.bottom) - max(theirs.y, mine.y)
    if shared_width >= shared_height:
        return "stacked"
    return "theirs left" if theirs.x < mine.x else "theirs right"


def _without_repeats(mine: list[ReadText], theirs: list[ReadText], sides: _Sides) -> list[ReadText]:
    """``mine`` less what ``theirs`` holds; a longer version of a cut line moves to ``theirs``."""
    unused = list(range(len(theirs)))
    rest = []
    for text in mine:
        at = next((i for i in unused if _same_line(theirs[i].text, text.text, sides)), None)
        if at is None:
            rest.append(text)
            continue
        unused.remove(at)
        if len(_plain(text.text)) > len(_plain(theirs[at].text)):
            theirs[at] = text
    return rest


def _same_line(theirs: str, mine: str, sides: _Sides) -> bool:
    a, b = _plain(theirs), _plain(mine)
    if a == b:
        return bool(a)
    if sides == "stacked" or min(len(a), len(b)) < _SHORTEST_FRAGMENT:
        return False
    left, right = (a, b) if sides == "theirs left" else (b, a)
    return right.startswith(left) or left.endswith(right)


def _plain(text: str) -> str:
    return "".join(text.split()).casefold()


def _overlap(one: Box, other: Box) -> bool:
    return (
        one.x < other.right
        and other.x < one.right
        and one.y < other.bottom
        and other.y < one.bottom
    )
