"""Figures as people read them: one form for the terminal, the page and a line of text.

Whatever comes from elsewhere goes through ``plain`` first, so that no control character or
escape sequence of a subject or a reason reaches a terminal.
"""

from __future__ import annotations

import itertools
import math
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime

from shimmy_ops.domain.monitoring.picture import Spread, Unit

NONE = "\N{EN DASH}"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_BLOCKS = "▁▂▃▄▅▆▇█"
_GAP = "·"
# Where the smallest unit of money is the whole one (Stripe's zero-decimal currencies).
_NO_CENTS = frozenset(
    ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv",
     "xaf", "xof", "xpf")
)  # fmt: skip
_SIGNS = {"usd": "$", "eur": "€", "gbp": "£"}


def plain(text: str, longest: int = 200) -> str:
    """One line of printable text, cut at ``longest`` letters with an ellipsis."""
    kept = "".join(" " if one.isspace() else one for one in text if _shown(one))
    line = " ".join(kept.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _shown(letter: str) -> bool:
    # Cc, Cf, Cs, Co, Cn: controls, marks that turn the direction of text, what is no letter.
    return letter.isspace() or not unicodedata.category(letter).startswith("C")


def share(value: float | None) -> str:
    """A share of one in per cent, so fine that 99.95 % and 0.05 % differ from 100 and 0."""
    if value is None or not math.isfinite(value):
        return NONE
    percent = value * 100
    near = min(abs(percent), abs(100 - percent))
    # Never rounded to 0 or 100 when it is neither: that would call a miss held.
    digits = next((n for n in (0, 1, 2, 3) if near == 0 or _exact(percent, n)), 3)
    if near and 0 < percent < 100 and float(f"{percent:.{digits}f}") in (0.0, 100.0):
        return "< 0.001 %" if percent < 1 else "> 99.999 %"
    return f"{percent:.{digits}f} %"


def _exact(percent: float, digits: int) -> bool:
    """Whether this many digits lose less than a part in fifty of what is away from 0 or 100."""
    near = min(abs(percent), abs(100 - percent))
    return abs(round(percent, digits) - percent) <= near / 50


def seconds(value: float | None) -> str:
    """120 ms, 1.4 s, 3 min 20 s, 5 h 10 min, 3 d 4 h."""
    if value is None or not math.isfinite(value):
        return NONE
    if value < 0:
        return f"-{seconds(-value)}"
    if value < 0.9995:
        return f"{value * 1000:.0f} ms" if value == 0 or value >= 0.001 else "< 1 ms"
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return _two(whole, _MINUTE, "min", 1, "s")
    whole = round(value / _MINUTE) * _MINUTE
    if whole < _DAY:
        return _two(whole, _HOUR, "h", _MINUTE, "min")
    return _two(round(value / _HOUR) * _HOUR, _DAY, "d", _HOUR, "h")


def _two(whole: int, big: int, big_name: str, small: int, small_name: str) -> str:
    first, rest = divmod(whole, big)
    tail = f" {rest // small} {small_name}" if rest // small else ""
    return f"{first:,} {big_name}{tail}"


def hours(value: float) -> str:
    """How wide a window is: 5 min, 1 h, 24 h, 7 d."""
    if not math.isfinite(value):
        return NONE
    if value < 1:
        return f"{value * 60:.3g} min"
    return f"{value:.4g} h" if value <= 48 else f"{value / 24:.4g} d"


def count(value: float | None) -> str:
    """1,234; fractions to one digit."""
    if value is None or not math.isfinite(value):
        return NONE
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def money(minor: float | None, currency: str) -> str:
    """Minor units as an amount: $1,234.50, 12.00 CHF; whole amounts keep their cents."""
    if minor is None or not math.isfinite(minor):
        return NONE
    code = currency.lower()
    digits = 0 if code in _NO_CENTS else 2
    amount = f"{abs(minor) / 10**digits:,.{digits}f}"
    sign = "-" if minor < 0 else ""
    if code in _SIGNS:
        return f"{sign}{_SIGNS[code]}{amount}"
    return f"{sign}{amount} {plain(currency, 8).upper()}".rstrip()


def of_unit(value: float | None, unit: Unit, currency: str = "usd") -> str:
    """Of any unit that a series or an objective has."""
    if unit == "ratio":
        return share(value)
    if unit == "seconds":
        return seconds(value)
    if unit == "count":
        return count(value)
    return money(value, currency)


def spread(value: Spread) -> str:
    """Half of them, and nearly all: "1.2 s, p95 4.0 s"."""
    if not value.count or value.p50 is None:
        return NONE
    return f"{seconds(value.p50)}, p95 {seconds(value.p95)}"


def moment(at: datetime) -> str:
    """2026-11-26 04:11 UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def age(then: datetime, now: datetime) -> str:
    """How long ago; clocks that disagree by a little are no negative age."""
    passed = max(0, round((now - then).total_seconds()))
    return seconds(float(passed)) if passed else "0 s"


def plural(number: int, one: str, many: str = "") -> str:
    """1 alarm, 2 alarms."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def bar(part: float | None, width: int) -> str:
    """A filled bar of ``width`` letters for a share of one; more is full, less is empty."""
    if part is None or not math.isfinite(part):
        return "?" * width
    filled = round(min(1.0, max(0.0, part)) * width)
    # Neither nearly empty nor nearly full looks as if it were quite.
    if 0 < part < 1 and width > 1:
        filled = min(width - 1, max(1, filled))
    return "█" * filled + "░" * (width - filled)


def sparkline(values: Sequence[float | None], width: int, *, less_is_worse: bool = False) -> str:
    """At most ``width`` blocks from lowest to highest; what is missing is a dot.

    Where there are more values than blocks, each block is the worst of its share: a short outage
    stays visible.
    """
    blocks = [_worst(part, less_is_worse=less_is_worse) for part in _parts(values, width)]
    known = [one for one in blocks if one is not None]
    if not known:
        return _GAP * len(blocks)
    low, high = min(known), max(known)
    return "".join(_GAP if one is None else _block(one, low, high) for one in blocks)


def _block(value: float, low: float, high: float) -> str:
    if high <= low:
        return _BLOCKS[0]
    share_of_height = (value / 2 - low / 2) / (high / 2 - low / 2)
    return _BLOCKS[min(len(_BLOCKS) - 1, int(share_of_height * len(_BLOCKS)))]


def _parts(values: Sequence[float | None], width: int) -> list[Sequence[float | None]]:
    size = len(values)
    if width <= 0:
        return []
    if size <= width:
        return [[one] for one in values]
    edges = [size * n // width for n in range(width + 1)]
    return [values[a:b] for a, b in itertools.pairwise(edges)]


def _worst(part: Sequence[float | None], *, less_is_worse: bool) -> float | None:
    known = [one for one in part if one is not None and math.isfinite(one)]
    return min(known, default=None) if less_is_worse else max(known, default=None)
