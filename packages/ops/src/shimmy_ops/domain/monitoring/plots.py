"""Plots as inline SVG: where everything lies is one value, how it is written another function.

Sizes are in user units of the ``viewBox``; the page scales them. Colours are the page's: elements
carry classes only (``axis``, ``grid``, ``line``, ``dot``, ``limit``, ``bar``, ``tick``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape

from shimmy_ops.domain.monitoring.picture import Point, Unit
from shimmy_ops.domain.monitoring.scales import choose_time_ticks, choose_value_ticks, tick_label
from shimmy_ops.domain.monitoring.wording import moment, of_unit, plain

WIDTH, HEIGHT = 360.0, 190.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 14.0, 12.0, 26.0
_LARGEST = 1e15
_ROW, _NAME_WIDTH, _AMOUNT_WIDTH = 34.0, 84.0, 96.0
_EMPTY_AXIS: dict[Unit, float] = {"ratio": 0.01, "seconds": 1.0, "count": 4.0, "money": 10000.0}


@dataclass(frozen=True, slots=True)
class LineChart:
    """One series between ``begin`` and ``end``, with what was promised as ``limit``.

    ``less_is_worse``: the limit is the least that may be (availability), and the axis ends at what
    is best instead of beginning at nothing.
    """

    title: str
    unit: Unit
    begin: datetime
    end: datetime
    points: Sequence[Point]
    limit: float | None = None
    less_is_worse: bool = False
    currency: str = "usd"


@dataclass(frozen=True, slots=True)
class Box:
    """Where values are drawn; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything of a line chart lies. ``lines`` are cut at every gap."""

    box: Box
    lines: tuple[tuple[tuple[float, float], ...], ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    limit: float | None


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a bar chart: its amount decides the length, ``written`` is what is said of it."""

    name: str
    amount: float
    written: str


def lay_out(chart: LineChart) -> Layout:
    """Points in order of time, each inside the box; outside of begin and end nothing is drawn."""
    box = Box(LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM)
    begin = chart.begin
    end = chart.end if chart.end > begin else begin + timedelta(hours=1)
    runs = _runs(chart.points, begin, chart.end)
    low, high = _bounds(chart, [value for run in runs for _, value in run])
    values = choose_value_ticks(low, high, whole=chart.unit == "count")
    low, high = values[0], values[-1]

    def across(at: datetime) -> float:
        return box.left + (at - begin) / (end - begin) * (box.right - box.left)

    def upwards(value: float) -> float:
        part = min(1.0, max(0.0, (value - low) / (high - low)))
        return box.bottom - part * (box.bottom - box.top)

    limit = _finite(chart.limit)
    return Layout(
        box,
        tuple(tuple((across(at), upwards(value)) for at, value in run) for run in runs),
        tuple((across(tick.at), tick.label) for tick in choose_time_ticks(begin, end)),
        tuple((upwards(one), tick_label(one, chart.unit, chart.currency)) for one in values),
        None if limit is None else upwards(limit),
    )


def _finite(value: float | None) -> float | None:
    """None for what cannot be drawn; the absurdly large is as large as the axis goes."""
    if value is None or math.isnan(value):
        return None
    return min(_LARGEST, max(-_LARGEST, value))


def _runs(
    points: Sequence[Point], begin: datetime, end: datetime
) -> list[list[tuple[datetime, float]]]:
    """What lies together without a gap; of two values at one time the later given counts."""
    by_time = {one.at: one.value for one in points if begin <= one.at <= end}
    runs: list[list[tuple[datetime, float]]] = [[]]
    for at in sorted(by_time):
        value = _finite(by_time[at])
        if value is not None:
            runs[-1].append((at, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _bounds(chart: LineChart, values: list[float]) -> tuple[float, float]:
    """What the axis must reach, limit included; never empty."""
    limit = _finite(chart.limit)
    shown = [*values, *([] if limit is None else [limit])]
    if chart.less_is_worse:
        return _bounds_from_above(shown)
    low, high = min([0.0, *shown]), max([0.0, *shown])
    if high - low <= 1e-9:
        return low, low + _EMPTY_AXIS[chart.unit]
    # A limit on the upper edge would look like the frame.
    return low, high + (high - low) / 20 if limit == high else high


def _bounds_from_above(shown: list[float]) -> tuple[float, float]:
    """Ends at 1, or above where a value is; begins a little below the lowest."""
    low, high = min([1.0, *shown]), max([1.0, *shown])
    if high - low <= 1e-6:
        return high - 0.01, high
    below = low - (high - low) / 4
    return (max(0.0, below) if low >= 0 else below), high


def draw_line_chart(chart: LineChart) -> str:
    """An ``<svg>`` with its text alternative."""
    plot = lay_out(chart)
    box = plot.box
    parts = [
        f'<path class="grid" d="M{_n(box.left)} {_n(y)}H{_n(box.right)}"/>'
        f'<text class="tick" text-anchor="end" x="{_n(box.left - 6)}" y="{_n(y + 4)}">'
        f"{escape(label)}</text>"
        for y, label in plot.y_ticks
    ]
    parts.append(f'<path class="axis" d="M{_n(box.left)} {_n(box.bottom)}H{_n(box.right)}"/>')
    parts += [
        f'<path class="axis" d="M{_n(x)} {_n(box.bottom)}v4"/>'
        f'<text class="tick" text-anchor="middle" x="{_n(x)}" y="{_n(box.bottom + 18)}">'
        f"{escape(label)}</text>"
        for x, label in plot.x_ticks
    ]
    if plot.limit is not None:
        parts.append(f'<path class="limit" d="M{_n(box.left)} {_n(plot.limit)}H{_n(box.right)}"/>')
    parts += [_line(line) for line in plot.lines]
    if not plot.lines:
        middle = (box.left + box.right) / 2
        parts.append(
            f'<text class="nothing" text-anchor="middle" x="{_n(middle)}" '
            f'y="{_n((box.top + box.bottom) / 2)}">no samples yet</text>'
        )
    return _svg(WIDTH, HEIGHT, describe_line_chart(chart), parts)


def _line(line: Sequence[tuple[float, float]]) -> str:
    if len(line) == 1:
        x, y = line[0]
        return f'<circle class="dot" cx="{_n(x)}" cy="{_n(y)}" r="2.5"/>'
    points = " ".join(f"{_n(x)},{_n(y)}" for x, y in line)
    return f'<polyline class="line" points="{points}"/>'


def _n(value: float) -> str:
    return f"{value:.1f}"


def _svg(width: float, height: float, alternative: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_n(width)} {_n(height)}" role="img" '
        f'aria-label="{escape(alternative)}">{"".join(parts)}</svg>'
    )


def describe_line_chart(chart: LineChart) -> str:
    """What somebody sees in it, in a sentence or two."""
    runs = _runs(chart.points, chart.begin, chart.end)
    title = plain(chart.title, 80)
    values = [value for run in runs for _, value in run]

    def written(value: float | None) -> str:
        return of_unit(value, chart.unit, chart.currency)

    if not values:
        return f"{title}: no samples between {moment(chart.begin)} and {moment(chart.end)}."
    last_at = runs[-1][-1][0].astimezone(UTC)
    said = (
        f"{title} from {moment(chart.begin)} to {moment(chart.end)}: lowest {written(min(values))},"
        f" highest {written(max(values))}, last {written(values[-1])} at {last_at:%H:%M}."
    )
    if chart.limit is not None:
        bound = "at least" if chart.less_is_worse else "at most"
        said += f" Promised: {bound} {written(chart.limit)}."
    if len(runs) > 1:
        said += f" Samples are missing in {len(runs) - 1} place{'s' if len(runs) > 2 else ''}."
    return said


def lay_out_bars(bars: Sequence[Bar]) -> tuple[float, ...]:
    """Each bar's length, 0 to what is free between names and amounts, in its share of the largest.

    What is below 0 has no length.
    """
    room = WIDTH - _NAME_WIDTH - _AMOUNT_WIDTH
    amounts = [max(0.0, _finite(one.amount) or 0.0) for one in bars]
    most = max(amounts, default=0.0)
    return tuple(room * (one / most) if most else 0.0 for one in amounts)


def draw_bars(title: str, bars: Sequence[Bar]) -> str:
    """Lying bars, names before and amounts behind them."""
    parts = []
    for number, (one, length) in enumerate(zip(bars, lay_out_bars(bars), strict=True)):
        top = TOP + number * _ROW
        baseline = _n(top + _ROW / 2)
        parts.append(
            f'<text class="tick" x="0" y="{baseline}">{escape(plain(one.name, 13))}</text>'
            f'<rect class="bar" x="{_n(_NAME_WIDTH)}" y="{_n(top + 3)}" width="{_n(length)}" '
            f'height="{_n(_ROW - 14)}" rx="2"/>'
            f'<text class="tick" x="{_n(_NAME_WIDTH + length + 6)}" y="{baseline}">'
            f"{escape(plain(one.written, 16))}</text>"
        )
    listed = "; ".join(f"{plain(one.name, 40)} {plain(one.written, 40)}" for one in bars)
    height = max(HEIGHT, 2 * TOP + len(bars) * _ROW)
    return _svg(WIDTH, height, f"{plain(title, 80)}: {listed or 'nothing yet'}.", parts)
