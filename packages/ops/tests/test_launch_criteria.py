"""Success criteria are read from what commands said, and are held, missed or unknown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from launch_stage import entry, make_plan, task

from shimmy_ops.adapters.launch.plan_file import read_plan_file
from shimmy_ops.domain.launch.criteria import CRITERIA, Judged, judge_criteria
from shimmy_ops.domain.launch.plan_reading import parse_plan
from shimmy_ops.domain.launch.readings import Evidence
from shimmy_ops.domain.launch.standing import Standing, State

REAL = {one.id: dict(one.limits) for one in parse_plan(read_plan_file(None)).bounds}


def receipt(**changes: Any) -> str:
    steps = [{"id": name, "outcome": "held"} for name in ("portal-opens", "refunded")]
    left = {"id": "nothing-left", "outcome": changes.pop("left", "held")}
    document = {
        "format": "shimmy-live-transaction",
        "outcome": "held",
        "seconds_to_licence": 2.5,
        "seconds_to_mail": 4.0,
        "steps": [*steps, left],
        **changes,
    }
    return json.dumps({"whole": True, "problems": [], "receipt": document})


def figures(**changes: Any) -> str:
    told = {"p99_seconds": 0.08, "error_rate": 0.0, "availability": 1.0}
    return json.dumps({**told, "coverage": 0.97, "window_hours": 24.0, "state": "held", **changes})


def audit(*holes: dict[str, Any], reached: bool = True) -> str:
    return json.dumps({"reached": reached, "holes": list(holes)})


def scan(*findings: str) -> str:
    return json.dumps({"scanned": {"pieces": 9}, "findings": list(findings)})


CASES: list[tuple[str, str, int | None, str, str]] = [
    ("tests-pass", "12 tests passed, 0 skipped, 0 failed in 9 s", 0, "held", "12 tests passed"),
    ("tests-pass", "11 tests passed, 0 skipped, 1 failed in 9 s", 1, "missed", "1 failed"),
    ("tests-pass", "", None, "unknown", "time was up"),
    ("transaction-refunded", receipt(), 0, "held", "refunded: held"),
    ("transaction-refunded", receipt(left="failed"), 1, "missed", "nothing left: failed"),
    ("transaction-refunded", json.dumps({"receipt": None}), 1, "unknown", "no receipt"),
    ("portal-works", receipt(), 0, "held", "portal opens: held"),
    ("portal-works", receipt(steps=[]), 1, "missed", "portal opens: missing"),
    ("portal-works", "no JSON", 0, "unknown", "no receipt"),
    ("delivery-instant", receipt(), 0, "held", "licence after 2.5 s, mail after 4.0 s"),
    ("delivery-instant", receipt(seconds_to_mail=61), 0, "missed", "mail after 61.0 s"),
    ("delivery-instant", receipt(seconds_to_licence=11), 0, "missed", "licence after 11.0 s"),
    ("delivery-instant", receipt(seconds_to_mail=None), 0, "unknown", "does not tell"),
    ("no-vulnerability", audit(), 0, "held", "0 known holes, 0 allowed"),
    ("no-vulnerability", audit({"allowed": True}), 0, "held", "0 known holes, 1 allowed"),
    ("no-vulnerability", audit({"allowed": False}), 1, "missed", "1 known hole, 0 allowed"),
    ("no-vulnerability", audit(reached=False), 0, "unknown", "could not be reached"),
    ("no-vulnerability", "unreachable", 0, "unknown", "does not tell"),
    ("no-secret", scan(), 0, "held", "0 findings in 9 pieces"),
    ("no-secret", scan("a"), 1, "missed", "1 finding in 9 pieces"),
    ("no-secret", scan(), 3, "unknown", "did not end well"),
    ("api-fast", figures(), 0, "held", "p99 80 ms"),
    ("api-fast", figures(p99_seconds=0.5), 1, "missed", "p99 500 ms"),
    ("api-fast", figures(p99_seconds=None), 0, "unknown", "no latency"),
    ("errors-rare", figures(error_rate=0.0009), 0, "held", "0.090 % errors"),
    ("errors-rare", figures(error_rate=0.001), 1, "missed", "0.100 % errors"),
    ("errors-rare", figures(error_rate=True), 0, "unknown", "no request"),
    ("available", figures(), 0, "held", "100.000 % over 24 h, 97 % of it covered"),
    ("available", figures(availability=0.998), 1, "missed", "99.800 %"),
    ("available", figures(window_hours=1), 0, "unknown", "too little was watched"),
    ("available", figures(coverage=0.5), 0, "unknown", "too little was watched"),
    ("available", "{}", 0, "unknown", "does not tell how long"),
    ("available", figures(availability=float("nan")), 0, "unknown", "does not tell how long"),
    ("available", figures(coverage=float("inf")), 0, "unknown", "does not tell how long"),
    ("api-fast", figures(p99_seconds=-1), 0, "unknown", "no latency"),
]


def judged(
    name: str, evidence: Evidence | None, state: State = "verified", *others: Standing
) -> Judged:
    plan = make_plan(
        task("a", criteria=[name]), criteria={name: {"title": "It is so", **REAL[name]}}
    )
    standing = Standing(plan.tasks[0], state, entry("a", number=7))
    return judge_criteria(plan, (standing, *others), lambda _: evidence)[0]


def test_every_criterion_has_a_case_of_each_verdict() -> None:
    assert {(one[0], one[3]) for one in CASES} == {
        (name, verdict) for name in CRITERIA for verdict in ("held", "missed", "unknown")
    }


@pytest.mark.parametrize(("name", "output", "code", "verdict", "figure"), CASES)
def test_a_figure_is_read_from_what_the_command_said(
    name: str, output: str, code: int | None, verdict: str, figure: str
) -> None:
    state: State = "verified" if code == 0 else "failed"
    found = judged(name, Evidence(code, output, ""), state)
    assert found.verdict == verdict, found
    assert figure in found.figure
    assert found.entry == 7


@pytest.mark.parametrize("name", list(CRITERIA))
@pytest.mark.parametrize("state", ["changed", "expired", "ahead"])
def test_evidence_that_holds_no_more_shows_nothing(name: str, state: State) -> None:
    good = next(one for one in CASES if one[0] == name and one[3] == "held")
    assert judged(name, Evidence(0, good[1], ""), state).verdict == "unknown"


@pytest.mark.parametrize("name", list(CRITERIA))
def test_a_task_that_failed_never_shows_that_a_criterion_is_held(name: str) -> None:
    good = next(one for one in CASES if one[0] == name and one[3] == "held")
    for code in (0, 1, None):
        assert judged(name, Evidence(code, good[1], ""), "failed").verdict != "held"


@pytest.mark.parametrize("name", list(CRITERIA))
@pytest.mark.parametrize("output", ["", "[]", "null", '{"receipt": 1}', "[" * 9999, '{"steps": 1}'])
def test_output_of_another_shape_is_never_a_figure(name: str, output: str) -> None:
    if name == "tests-pass":
        return  # its exit code is its answer
    assert judged(name, Evidence(0, output, "")).verdict == "unknown"


def test_output_that_is_gone_shows_nothing() -> None:
    assert judged("api-fast", None).verdict == "unknown"


def test_the_newest_of_several_tasks_decides() -> None:
    plan = make_plan(
        task("a", criteria=["no-secret"]), task("b", criteria=["no-secret"]),
        criteria={"no-secret": {"title": "None"}},
    )  # fmt: skip
    told = {"a": Evidence(0, scan(), ""), "b": Evidence(1, scan("x"), "")}
    for numbers, verdict in (((3, 9), "missed"), ((9, 3), "held")):
        first, second = (entry("ab"[at], number=number) for at, number in enumerate(numbers))
        standings = (
            Standing(plan.tasks[0], "verified", first),
            Standing(plan.tasks[1], "failed", second),
        )
        found = judge_criteria(plan, standings, lambda one: told[one.task.id])[0]
        assert (found.verdict, found.entry) == (verdict, 9)


def test_a_task_that_did_not_run_is_named() -> None:
    plan = make_plan(task("a", criteria=["no-secret"]), criteria={"no-secret": {"title": "None"}})
    found = judge_criteria(plan, (Standing(plan.tasks[0], "open"),), lambda _: None)[0]
    assert (found.verdict, found.figure, found.entry) == ("unknown", "a did not run", 0)
