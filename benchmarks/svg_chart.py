"""Charts as SVG text, without a library: bars with a target, stacked bars, lines.

Legible on a light and on a dark page: colours follow the reader's scheme, text has no background.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from xml.sax.saxutils import escape

WIDTH = 760
_Reach: TypeAlias = Callable[[float], float]
_LEFT, _RIGHT, _TOP, _ROW, _BAR = 230, 90, 56, 30, 16
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2933; }
.title { font-size: 15px; font-weight: 600; } .faint { fill: #52606d; font-size: 12px; }
.axis { stroke: #9aa5b1; stroke-width: 1; } .target { stroke: #b42318; stroke-width: 2; }
.c0 { fill: #1d6fb8; stroke: #1d6fb8; } .c1 { fill: #9a6700; stroke: #9a6700; }
.c2 { fill: #57606a; stroke: #57606a; } .c3 { fill: #8250df; stroke: #8250df; }
.line { fill: none; stroke-width: 2; } .pale { fill-opacity: .45; }
@media (prefers-color-scheme: dark) {
text { fill: #e4e7eb; } .faint { fill: #9aa5b1; } .axis { stroke: #616e7c; }
.target { stroke: #ff8a80; } .c0 { fill: #58a6ff; stroke: #58a6ff; }
.c1 { fill: #e3b341; stroke: #e3b341; } .c2 { fill: #9aa5b1; stroke: #9aa5b1; }
.c3 { fill: #bc8cff; stroke: #bc8cff; } }
""".strip()


@dataclass(frozen=True, slots=True)
class Bar:
    """A labelled value, perhaps of ``parts`` that stand behind each other, and what it aims at."""

    label: str
    parts: tuple[float, ...]
    told: str
    target: float | None = None
    colour: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """A labelled run of (x, y)."""

    label: str
    points: tuple[tuple[float, float], ...]


def draw_bars(
    title: str, note: str, bars: Sequence[Bar], *, logarithmic: tuple[float, float] | None = None
) -> str:
    """Horizontal bars from zero, or between the two bounds on a logarithmic scale.

    A target is a red tick. ``note`` says what is drawn and what is better.
    """
    room = WIDTH - _LEFT - _RIGHT
    most = max(max(sum(bar.parts), bar.target or 0.0) for bar in bars) or 1.0

    def reach(value: float) -> float:
        if logarithmic is None:
            return room * value / most
        low, high = (math.log10(bound) for bound in logarithmic)
        at = math.log10(max(value, logarithmic[0]))
        return room * min(1.0, (at - low) / (high - low))

    rows: list[str] = []
    for number, bar in enumerate(bars):
        rows += _bar(bar, _TOP + number * _ROW, reach)
    height = _TOP + len(bars) * _ROW + 12
    axis = _rule("axis", _LEFT, _TOP - 6, _LEFT, height - 10)
    return _page(title, note, height, [*rows, axis])


def _bar(bar: Bar, top: int, reach: _Reach) -> list[str]:
    words = _text(_LEFT - 10, top + 13, bar.label, 'text-anchor="end"')
    drawn, done = [words], 0.0
    for number, part in enumerate(bar.parts):
        start, end = reach(done) if done else 0.0, reach(done + part)
        pale = " pale" if number else ""
        place = f'x="{_LEFT + start:.1f}" y="{top}" width="{max(1.0, end - start):.1f}"'
        drawn.append(f'<rect class="c{bar.colour}{pale}" stroke="none" {place} height="{_BAR}"/>')
        done += part
    edge = _LEFT + reach(done)
    if bar.target is not None:
        tick = _LEFT + reach(bar.target)
        drawn.append(_rule("target", tick, top - 4, tick, top + _BAR + 4))
        edge = max(edge, tick)
    return [*drawn, _text(edge + 8, top + 13, bar.told, "")]


def draw_lines(title: str, note: str, x: str, y: str, lines: Sequence[Line]) -> str:
    """Lines over a common origin; both axes begin at zero. ``x`` and ``y`` name the units."""
    height, left, bottom = 340, 70, 290
    most_x = max(at for line in lines for at, _ in line.points) or 1.0
    most_y = max(at for line in lines for _, at in line.points) or 1.0
    room_x, room_y = WIDTH - left - 170, bottom - _TOP

    def place(point: tuple[float, float]) -> tuple[float, float]:
        return left + room_x * point[0] / most_x, bottom - room_y * point[1] / most_y

    drawn = [_rule("axis", left, bottom, left + room_x, bottom)]
    drawn.append(_rule("axis", left, _TOP, left, bottom))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        across, up = place((most_x * share, most_y * share))
        drawn.append(_text(across, bottom + 18, f"{most_x * share:g}", 'text-anchor="middle"'))
        drawn.append(_text(left - 8, up + 4, f"{most_y * share:.3g}", 'text-anchor="end"'))
    for number, line in enumerate(lines):
        points = [place(point) for point in line.points]
        path = " ".join(f"{across:.1f},{up:.1f}" for across, up in points)
        drawn.append(f'<polyline class="line c{number % 4}" style="fill:none" points="{path}"/>')
        drawn += [
            f'<circle class="c{number % 4}" cx="{across:.1f}" cy="{up:.1f}" r="3"/>'
            for across, up in points
        ]
        end = points[-1]
        drawn.append(_text(end[0] + 8, end[1] + 4, line.label, ""))
    drawn.append(_text(left + room_x / 2, bottom + 38, x, 'text-anchor="middle"'))
    drawn.append(_text(8, _TOP - 8, y, ""))
    return _page(title, note, height, drawn)


def _page(title: str, note: str, height: float, drawn: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}"'
    size = f'width="{WIDTH}" height="{height:.0f}" role="img" aria-label="{escape(title)}"'
    words = [
        f'<text class="title" x="8" y="20">{escape(title)}</text>',
        f'<text class="faint" x="8" y="38">{escape(note)}</text>',
    ]
    return "\n".join([f"{head} {size}>", f"<style>{_STYLE}</style>", *words, *drawn, "</svg>\n"])


def _text(x: float, y: float, words: str, how: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {how}>{escape(words)}</text>'


def _rule(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
