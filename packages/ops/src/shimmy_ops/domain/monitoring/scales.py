"""Axes of plots: round steps of values and of time, and what stands beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shimmy_ops.domain.monitoring.picture import Unit
from shimmy_ops.domain.monitoring.wording import count, money, seconds, share

_MOST_TICKS = 5
_MINUTES = (5, 10, 15, 30, 60, 120, 180, 360, 720)
_DAYS = (1, 2, 5, 7, 14, 30, 90, 365)
_STEPS = tuple(timedelta(minutes=one) for one in _MINUTES) + tuple(
    timedelta(days=one) for one in _DAYS
)
_EPOCH = datetime(2001, 1, 1, tzinfo=UTC)  # a Monday


@dataclass(frozen=True, slots=True)
class TimeTick:
    """A round moment in UTC."""

    at: datetime
    label: str


def choose_time_ticks(begin: datetime, end: datetime) -> tuple[TimeTick, ...]:
    """At most five round moments from ``begin`` to ``end``, evenly apart."""
    whole = end - begin
    step = next((one for one in _STEPS if whole / one <= _MOST_TICKS), whole / _MOST_TICKS)
    hours = step < timedelta(days=1)
    first = _EPOCH + math.ceil((begin - _EPOCH) / step) * step
    moments = (first + number * step for number in range(_MOST_TICKS + 1))
    return tuple(
        TimeTick(at, f"{at:%H:%M}" if hours else f"{at.day} {at:%b}")
        for at in moments
        if begin <= at <= end
    )[:_MOST_TICKS]


def choose_value_ticks(low: float, high: float, *, whole: bool = False) -> tuple[float, ...]:
    """Round numbers from at or below ``low`` to at or above ``high`` (more than ``low``)."""
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * one for one in (1, 2, 5, 10) if power * one >= rough * 0.999)
    if whole:
        step = max(1.0, step)
    first, last = math.floor(low / step + 1e-6), math.ceil(high / step - 1e-6)
    return tuple(number * step for number in range(first, max(last, first + 1) + 1))


def tick_label(value: float, unit: Unit, currency: str) -> str:
    """As short as it can be told."""
    if unit == "ratio":
        return share(round(value, 9))
    if unit == "seconds":
        return seconds(value)
    if unit == "count":
        return _short(value)
    return _short_money(value, currency)


def _short(value: float) -> str:
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1000 if letter == 'k' else size):,.4g}{letter}"
    return count(value)


def _short_money(minor: float, currency: str) -> str:
    written = money(minor, currency)
    if abs(minor) < 1e6:
        return written.replace(".00", "")
    digits = sum(letter.isdigit() for letter in money(0, currency)) - 1
    number = _short(abs(minor) / 10**digits)
    before, after = written[: len(written) - len(written.lstrip("-$€£"))], written.partition(" ")[2]
    return f"{before}{number} {after}".rstrip()
