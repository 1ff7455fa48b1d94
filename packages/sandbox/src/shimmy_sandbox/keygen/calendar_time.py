"""Durations as Keygen adds them: calendar months, not raw seconds.

Rails builds a duration from seconds by taking out mean years, months, weeks,
days, hours and minutes in turn, then adds each part by the calendar: first the
years, then the months, each time back to the last day a month has. Weeks and
everything smaller have one length in UTC and are added as seconds.
"""

from __future__ import annotations

import calendar
from datetime import datetime, timedelta

YEAR_SECONDS, MONTH_SECONDS = 31_556_952, 2_629_746


def add_duration(moment: datetime, seconds: int) -> datetime:
    """``moment`` plus ``seconds``, years and months by the calendar."""
    years, rest = divmod(seconds, YEAR_SECONDS)
    months, rest = divmod(rest, MONTH_SECONDS)
    return add_months(add_months(moment, 12 * years), months) + timedelta(seconds=rest)


def add_months(moment: datetime, months: int) -> datetime:
    """``moment`` so many months later, on the month's last day where it has no such day."""
    count = moment.month - 1 + months
    year, month = moment.year + count // 12, count % 12 + 1
    day = min(moment.day, calendar.monthrange(year, month)[1])
    return moment.replace(year=year, month=month, day=day)
