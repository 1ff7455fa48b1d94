"""Billing periods: the same day every month, or the month's last where it has no such day."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime, timedelta

DAY = 86400


def add_intervals(anchor: int, interval: str, count: int) -> int:
    """The moment ``count`` intervals after ``anchor`` (Unix seconds, UTC)."""
    start = datetime.fromtimestamp(anchor, UTC)
    if interval in ("day", "week"):
        days = count * (7 if interval == "week" else 1)
        return int((start + timedelta(days=days)).timestamp())
    months = start.month - 1 + count * (12 if interval == "year" else 1)
    year, month = start.year + months // 12, months % 12 + 1
    day = min(start.day, monthrange(year, month)[1])
    return int(start.replace(year=year, month=month, day=day).timestamp())


def period_end(anchor: int, interval: str, count: int, after: int) -> int:
    """The first boundary of the cycle that starts at ``anchor`` later than ``after``.

    Counted from the anchor, so a 31st comes back after February.
    """
    # A first guess that is never too late; months are at most 31 days long.
    longest = {"day": 1, "week": 7, "month": 31, "year": 366}[interval] * count * DAY
    number = max((after - anchor) // longest, 0)
    while (end := add_intervals(anchor, interval, number * count)) <= after:
        number += 1
    return end


def share(amount: int, part: int, whole: int) -> int:
    """``amount`` times part/whole, rounded half away from zero, in the smallest currency unit."""
    if whole <= 0:
        return 0
    size, sign = abs(amount * part), 1 if amount * part >= 0 else -1
    return sign * ((2 * size + whole) // (2 * whole))
