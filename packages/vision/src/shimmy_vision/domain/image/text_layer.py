"""A PDF's own text, as lines with boxes: what stands on the page, in reading order.

Characters come in the order in which the page draws them. Neighbours on one baseline make a run;
runs that were drawn apart but stand together make a line; a wide blank inside a row (columns,
cells) keeps lines apart.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from shimmy_vision.domain.image.layer_words import (
    LayerCharacter,
    is_readable,
    is_space,
    plain_text,
)
from shimmy_vision.domain.image.pixels import Box
from shimmy_vision.domain.image.reading_order import Bounds, reading_order

# In font sizes. Spaces of justified text and the quad after a heading's number reach 1 within
# what is drawn in one go; the gutter between two columns may be as narrow, so runs that were
# drawn apart must stand closer to be one line.
_DRAWN_GAP = 1.3
_JOINED_GAP = 0.6
_WORD_GAP = 0.15
# Superscripts stand a third of a font size above their line.
_OFF_BASELINE = 0.45
# Cosine of the largest angle between two characters of one line.
_SAME_DIRECTION = 0.97

_Along: TypeAlias = tuple[float, float]
LayerState: TypeAlias = Literal["used", "absent", "unreadable"]


@dataclass(frozen=True, slots=True)
class LayerLine:
    """One line or label of the text layer; ``box`` bounds its ink in pixels of the rendering."""

    text: str
    box: Box


@dataclass(frozen=True, slots=True)
class TextLayer:
    """``lines`` in reading order; none unless ``state`` is used."""

    state: LayerState
    lines: tuple[LayerLine, ...] = ()


@dataclass(slots=True)
class _Run:
    """Characters on one baseline; the box is in the direction's own coordinates."""

    characters: list[LayerCharacter]
    along: _Along
    baseline: float
    size: float
    box: Bounds
    spaced: bool = False  # whether a blank follows


def read_layer(characters: Sequence[LayerCharacter], width: int, height: int) -> TextLayer:
    """The text layer of a page rendered at ``width`` x ``height`` pixels.

    Characters outside the rendering are left out; a layer that is garbage is not used at all.
    """
    seen = [one for one in characters if is_space(one) or _is_inside(one, width, height)]
    if all(is_space(one) for one in seen):
        return TextLayer("absent")
    if not is_readable(seen):
        return TextLayer("unreadable")
    lines = [
        LayerLine(text, _pixel_box(line, width, height))
        for group in _by_direction(_runs(seen))
        for line in _ordered(_joined(group))
        if (text := plain_text(line.characters))
    ]
    return TextLayer("used", tuple(lines)) if lines else TextLayer("unreadable")


def _is_inside(one: LayerCharacter, width: int, height: int) -> bool:
    across, down = (one.left + one.right) / 2, (one.top + one.bottom) / 2
    return 0 <= across <= width and 0 <= down <= height


def _runs(characters: Iterable[LayerCharacter]) -> list[_Run]:
    """Neighbours in drawing order that stand beside each other on one baseline."""
    runs: list[_Run] = []
    for one in characters:
        if is_space(one):
            if runs:
                runs[-1].spaced = True
            continue
        if runs and _continues(runs[-1], one):
            _append(runs[-1], _run_of(one), blank=runs[-1].spaced)
        else:
            runs.append(_run_of(one))
    return runs


def _run_of(one: LayerCharacter) -> _Run:
    along = (one.along_x, one.along_y)
    return _Run([one], along, _baseline(one, along), one.size, _turned(one, along))


def _baseline(one: LayerCharacter, along: _Along) -> float:
    return one.y * along[0] - one.x * along[1]


def _turned(one: LayerCharacter, along: _Along) -> Bounds:
    """Its ink in coordinates whose x runs along ``along``."""
    corners = [(x, y) for x in (one.left, one.right) for y in (one.top, one.bottom)]
    across = [x * along[0] + y * along[1] for x, y in corners]
    down = [y * along[0] - x * along[1] for x, y in corners]
    return Bounds(min(across), min(down), max(across), max(down))


def _continues(run: _Run, one: LayerCharacter) -> bool:
    """Whether ``one`` stands beside ``run``, on either side: Arabic and Hebrew run leftwards."""
    size = max(run.size, one.size)
    turned = run.along[0] * one.along_x + run.along[1] * one.along_y
    off = abs(_baseline(one, run.along) - run.baseline)
    if turned < _SAME_DIRECTION or off > _OFF_BASELINE * size:
        return False
    before, after = _turned(run.characters[-1], run.along), _turned(one, run.along)
    return max(after.left - before.right, before.left - after.right) <= _DRAWN_GAP * size


def _append(run: _Run, other: _Run, *, blank: bool) -> None:
    if blank:
        run.characters.append(other.characters[0]._replace(text=" "))
    run.characters += other.characters
    run.spaced = other.spaced
    run.box = _union(run.box, other.box)
    run.size = max(run.size, other.size)


def _union(one: Bounds, other: Bounds) -> Bounds:
    return Bounds(
        min(one.left, other.left),
        min(one.top, other.top),
        max(one.right, other.right),
        max(one.bottom, other.bottom),
    )


def _by_direction(runs: Iterable[_Run]) -> list[list[_Run]]:
    """Runs of one direction together, the direction with most characters first."""
    groups: dict[int, list[_Run]] = {}
    for run in runs:
        turn = round(math.degrees(math.atan2(run.along[1], run.along[0])) / 15) % 24
        group = groups.setdefault(turn, [])
        _align(run, group[0].along if group else run.along)
        group.append(run)
    return sorted(groups.values(), key=lambda group: -sum(len(run.characters) for run in group))


def _align(run: _Run, along: _Along) -> None:
    """Say ``run`` in the coordinates of another direction, a few degrees off."""
    if run.along == along:
        return
    run.along, run.baseline = along, _baseline(run.characters[0], along)
    boxes = [_turned(one, along) for one in run.characters]
    run.box = boxes[0]
    for box in boxes[1:]:
        run.box = _union(run.box, box)


def _joined(runs: Sequence[_Run]) -> list[_Run]:
    """Runs drawn apart that stand together, in rows from top to bottom."""
    lines: list[_Run] = []
    row: list[_Run] = []
    for run in sorted(runs, key=lambda one: one.baseline):
        if row and run.baseline - row[0].baseline > _OFF_BASELINE * max(row[0].size, run.size):
            lines += _joined_row(row)
            row = []
        row.append(run)
    return lines + _joined_row(row)


def _joined_row(row: list[_Run]) -> list[_Run]:
    leftwards = _runs_leftwards(row)
    lines: list[_Run] = []
    for run in sorted(row, key=lambda one: -one.box.right if leftwards else one.box.left):
        if lines:
            last = lines[-1]
            gap = (
                last.box.left - run.box.right if leftwards else run.box.left - last.box.right
            ) / max(last.size, run.size)
            if -_JOINED_GAP <= gap <= _JOINED_GAP:
                _append(last, run, blank=last.spaced or gap > _WORD_GAP)
                continue
        lines.append(run)
    return lines


def _runs_leftwards(row: Sequence[_Run]) -> bool:
    kinds = [unicodedata.bidirectional(one.text) for run in row for one in run.characters]
    return sum(kind in ("R", "AL") for kind in kinds) > sum(kind == "L" for kind in kinds)


def _ordered(lines: Sequence[_Run]) -> list[_Run]:
    return [lines[index] for index in reading_order([line.box for line in lines])]


def _pixel_box(line: _Run, width: int, height: int) -> Box:
    """The ink of ``line`` in whole pixels, inside the rendering, at least one each way."""
    inked = line.characters
    left = min(max(0, math.floor(min(one.left for one in inked))), width - 1)
    top = min(max(0, math.floor(min(one.top for one in inked))), height - 1)
    right = min(max(left + 1, math.ceil(max(one.right for one in inked))), width)
    bottom = min(max(top + 1, math.ceil(max(one.bottom for one in inked))), height)
    return Box(left, top, right - left, bottom - top)
