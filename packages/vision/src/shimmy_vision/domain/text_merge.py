"""Text read from several tiles, each line once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shimmy_vision.domain.image_plan import Tile
from shimmy_vision.domain.pixels import Box

# Shorter remnants of a cut line are too likely to stand in another line by chance.
_SHORTEST_FRAGMENT = 4


@dataclass(frozen=True, slots=True)
class ReadText:
    """A text, how sure the model was of it, and the tile it was read in."""

    text: str
    confidence: float
    box: Box


def merge_tile_texts(
    per_tile: Sequence[tuple[Tile, Sequence[ReadText]]],
) -> list[ReadText]:
    """All texts in tile order without those that an overlapping neighbour read as well.

    Where tiles overlap, the same line may be read twice, or whole in one and cut
    in the other; the whole one stays. Tiles that only touch share no text, so
    equal texts in them are both kept. Each text of one tile is used up by at
    most one text of another.
    """
    kept: list[tuple[Tile, list[ReadText]]] = []
    for tile, texts in per_tile:
        mine: list[ReadText] = list(texts)
        for earlier, theirs in kept:
            if _overlap(tile.box, earlier.box):
                mine = _without_repeats(mine, theirs)
        kept.append((tile, mine))
    return [text for _, texts in kept for text in texts]


def _without_repeats(mine: list[ReadText], theirs: list[ReadText]) -> list[ReadText]:
    """``mine`` less what ``theirs`` holds; a longer version of a cut line moves to ``theirs``."""
    unused = list(range(len(theirs)))
    left = []
    for text in mine:
        at = next((i for i in unused if _same_line(text.text, theirs[i].text)), None)
        if at is None:
            left.append(text)
            continue
        unused.remove(at)
        if len(_plain(text.text)) > len(_plain(theirs[at].text)):
            theirs[at] = replace(text)
    return left


def _same_line(one: str, other: str) -> bool:
    a, b = _plain(one), _plain(other)
    if a == b:
        return bool(a)
    short, long = sorted((a, b), key=len)
    return len(short) >= _SHORTEST_FRAGMENT and (long.startswith(short) or long.endswith(short))


def _plain(text: str) -> str:
    return "".join(text.split()).casefold()


def _overlap(one: Box, other: Box) -> bool:
    return (
        one.x < other.right
        and other.x < one.right
        and one.y < other.bottom
        and other.y < one.bottom
    )
