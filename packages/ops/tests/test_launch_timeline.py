"""The timeline: earliest days, slack and the critical path against every path there is."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from launch_stage import make_plan, task

from shimmy_ops.domain.launch.plan import LaunchPlan
from shimmy_ops.domain.launch.schedule import Timeline, plan_timeline, slot_dates, working_day
from shimmy_ops.domain.launch.summary import gantt_lines, timeline_document

MONDAY = date(2026, 11, 30)


@st.composite
def plans(draw: st.DrawFn) -> LaunchPlan:
    tasks = list[dict[str, Any]]()
    phases = sorted(draw(st.lists(st.integers(1, 3), min_size=1, max_size=7)))
    for number, phase in enumerate(phases):
        before = [one["id"] for one in tasks if one["phase"] == phase]
        after = draw(st.lists(st.sampled_from(before), unique=True)) if before else []
        days = draw(st.integers(0, 8)) / 4
        tasks.append(task(f"t{number}", phase, after=after, days=days))
    return make_plan(*tasks)


def every_path(plan: LaunchPlan) -> list[tuple[str, ...]]:
    """All chains of tasks in which each waits for the one before it."""
    chains: list[tuple[str, ...]] = [()]
    for one in plan.tasks:
        before = set(plan.before(one))
        chains += [(*chain, one.id) for chain in chains if not chain or chain[-1] in before]
    return [chain for chain in chains if chain]


def length(plan: LaunchPlan, chain: tuple[str, ...]) -> float:
    return sum(plan.need(name).days for name in chain)


@given(plans())
def test_it_is_what_all_paths_say(plan: LaunchPlan) -> None:
    found, chains = plan_timeline(plan), every_path(plan)
    longest = max(length(plan, chain) for chain in chains)
    assert found.days == longest
    for one in found.slots:
        name = one.task.id
        until = max(length(plan, chain) for chain in chains if chain[-1] == name)
        through = max(length(plan, chain) for chain in chains if name in chain)
        assert one.ends == until
        assert one.starts == until - one.task.days
        assert one.slack == longest - through
    assert length(plan, found.path) == longest
    for first, second in zip(found.path, found.path[1:], strict=False):
        assert first in plan.before(plan.need(second))


@given(st.dates(date(2020, 1, 1), date(2040, 1, 1)), st.integers(0, 60))
def test_days_of_work_are_counted_one_by_one(start: date, count: int) -> None:
    day, left = start, count
    while day.weekday() > 4:
        day += timedelta(days=1)
    while left:
        day += timedelta(days=1)
        left -= day.weekday() < 5
    assert working_day(start, count) == day


def small() -> tuple[LaunchPlan, Timeline]:
    plan = make_plan(
        task("build", days=3), task("ask", days=1, after=[]), task("sell", 2, days=2.5)
    )
    return plan, plan_timeline(plan)


def test_what_is_shown_has_weeks_dates_and_slack() -> None:
    plan, timeline = small()
    document = timeline_document(plan, timeline, date(2026, 11, 28))
    assert (document["start"], document["end"], document["weeks"]) == (
        "2026-11-30", "2026-12-07", 2
    )  # fmt: skip
    assert document["critical_path"] == ["build", "sell"]
    ask = document["tasks"][1]
    assert (ask["slack"], ask["critical"], ask["from"], ask["to"]) == (
        2.0, False, "2026-11-30", "2026-11-30"
    )  # fmt: skip
    assert document["phases"][1]["from"] == "2026-12-03"
    lines = gantt_lines(timeline, MONDAY)
    assert lines[0].endswith("|30.11|07.12")
    assert lines[1:] == [
        "build    3 d  slack    0  |███  |",
        "ask      1 d  slack    2  |▒··  |",
        "sell   2.5 d  slack    0  |   ██|█",
    ]


def test_a_task_of_half_a_day_begins_and_ends_on_one_day() -> None:
    plan = make_plan(task("a", days=0.5), task("b", days=0.5), task("c", days=0))
    slots = plan_timeline(plan).slots
    assert [slot_dates(one, MONDAY) for one in slots[:2]] == [(MONDAY, MONDAY)] * 2
    assert slots[2].starts == 1.0


@pytest.mark.parametrize("start", [MONDAY - timedelta(days=one) for one in (0, 1, 2)])
def test_a_weekend_begins_on_monday(start: date) -> None:
    assert working_day(start, 0) == MONDAY
