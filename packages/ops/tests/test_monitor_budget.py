"""What is left of an error budget: as a share, and in minutes in which all goes wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from pictures import full_picture
from sampled_store import NOW, ago, sampled, visits

from shimmy_ops.domain.monitoring.documents import picture_document
from shimmy_ops.domain.monitoring.increases import take_apart
from shimmy_ops.domain.monitoring.objectives import judge_objectives
from shimmy_ops.domain.monitoring.picture import Objective, Unknown, Window
from shimmy_ops.domain.monitoring.service_panels import objectives_panel

MONTH = 720.0
NOT_READ = Unknown("not read")


def judged(good: float, bad: float) -> Objective:
    """The error rate's objective over 30 days in which so many requests came."""
    samples = [
        sampled(ago(hours=hours), visits(part * good, part * bad), born=ago(days=40), every=600)
        for hours, part in ((MONTH, 0), (1, 1), (0, 1))
    ]
    window = Window(MONTH, NOW - timedelta(hours=MONTH), 1.0)
    history = take_apart(samples)
    found = judge_objectives(history, window, NOW, NOT_READ, NOT_READ, NOT_READ, NOT_READ)
    return next(one for one in found if one.id == "error-rate")


@pytest.mark.parametrize(
    ("bad", "minutes", "shown"),
    [(0, 43.2, "100 %"), (25, 32.4, "75 %"), (100, 0.0, "0 %")],
)
def test_of_a_months_budget_minutes_are_left(bad: int, minutes: float, shown: str) -> None:
    one = judged(100_000 - bad, bad)
    assert one.budget_minutes == pytest.approx(43.2)
    assert one.budget_minutes_left == pytest.approx(minutes, abs=1e-6)
    table = objectives_panel((one,)).table
    assert table is not None
    cell = table.rows[0][3].text.replace("\N{NO-BREAK SPACE}", " ").replace("%", " %")
    assert " ".join(cell.split()) == f"{shown} {minutes:.1f}min"


def test_more_than_the_budget_is_overdrawn_and_the_document_says_by_how_much() -> None:
    one = judged(99_800, 200)
    assert one.budget_minutes_left == pytest.approx(-43.2)
    table = objectives_panel((one,)).table
    assert table is not None and table.rows[0][3].text == "overdrawn"
    shown = picture_document(replace(full_picture(), objectives=(one,)))["objectives"][0]
    assert shown["budget_minutes"] == pytest.approx(43.2)
    assert shown["budget_minutes_left"] == pytest.approx(-43.2)
    assert shown["budget_left"] == pytest.approx(-100)


def test_where_nobody_came_nothing_is_known_of_the_budget() -> None:
    one = judged(0, 0)
    assert (one.state, one.budget_minutes, one.budget_minutes_left) == ("unknown", None, None)
