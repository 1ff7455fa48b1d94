"""Durations against what Rails makes of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shimmy_sandbox.keygen.calendar_time import (
    MONTH_SECONDS,
    YEAR_SECONDS,
    add_duration,
    add_months,
)

DAY = 86_400
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


@pytest.mark.parametrize(
    ("start", "seconds", "end"),
    [
        ("2022-10-16T14:52:48", MONTH_SECONDS, "2022-11-16T14:52:48"),
        ("2022-10-16T14:52:48", 189_341_712, "2028-10-16T14:52:48"),  # six years
        ("2021-07-19T00:00:00", 7_889_238, "2021-10-19T00:00:00"),  # three months
        ("2023-01-31T00:00:00", MONTH_SECONDS, "2023-02-28T00:00:00"),
        ("2023-12-31T23:59:59", 2 * MONTH_SECONDS, "2024-02-29T23:59:59"),
        ("2024-02-29T12:00:00", YEAR_SECONDS, "2025-02-28T12:00:00"),
        # The year comes first and takes the 29th away, then the month.
        ("2024-02-29T12:00:00", YEAR_SECONDS + MONTH_SECONDS, "2025-03-28T12:00:00"),
        ("2024-01-31T00:00:00", 30 * DAY, "2024-03-01T00:00:00"),  # four weeks and two days
        ("2024-01-31T00:00:00", MONTH_SECONDS + DAY, "2024-03-01T00:00:00"),
        ("2024-01-30T00:00:00", 31 * DAY, "2024-02-29T13:30:54"),  # a month and 48,654 s
        ("2024-05-05T05:05:05", 3661, "2024-05-05T06:06:06"),
    ],
)
def test_known_values(start: str, seconds: int, end: str) -> None:
    moment = datetime.fromisoformat(start).replace(tzinfo=UTC)
    assert add_duration(moment, seconds) == datetime.fromisoformat(end).replace(tzinfo=UTC)


@given(MOMENTS, st.integers(0, MONTH_SECONDS - 1))
def test_less_than_a_month_is_so_many_seconds(moment: datetime, seconds: int) -> None:
    assert add_duration(moment, seconds) == moment + timedelta(seconds=seconds)


@given(MOMENTS, st.integers(0, 600))
def test_months_keep_the_day_or_end_the_month(moment: datetime, months: int) -> None:
    later = add_months(moment, months)
    assert (later.year * 12 + later.month) - (moment.year * 12 + moment.month) == months
    ends_month = (later + timedelta(days=1)).month != later.month
    assert later.day == moment.day or (later.day < moment.day and ends_month)
    assert later.timetz() == moment.timetz()


@given(MOMENTS, st.integers(1, 50))
def test_later_by_years_is_the_same_date(moment: datetime, years: int) -> None:
    later = add_duration(moment, years * YEAR_SECONDS)
    assert (later.year - moment.year, later.month) == (years, moment.month)
