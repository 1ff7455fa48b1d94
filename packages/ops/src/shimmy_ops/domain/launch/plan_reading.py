"""From a parsed TOML file to a launch plan, or to all that is wrong with it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shimmy_ops.domain.launch.commands import PLACES, PROFILED, places_in
from shimmy_ops.domain.launch.criteria import CRITERIA
from shimmy_ops.domain.launch.plan import TASK_PROFILES, Bound, LaunchPlan, Task, in_order
from shimmy_ops.errors import LaunchError

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_VARIABLE = re.compile(r"[a-z][a-z0-9_]*")
_TOP = ("title", "variables", "phases", "criteria", "task")
_NEEDED = ("id", "phase", "title", "why", "do", "owner", "days")
_WORDS = ("id", "title", "why", "do", "ask", "profile", "rehearse_why", "owner")
_LISTS = ("act", "verify", "rehearse", "rehearse_act", "after", "criteria")
_NUMBERS = ("days", "valid_hours", "wait_hours", "timeout_seconds")
_FLAGS = ("attest", "this_revision")
_TASK = (*_WORDS, *_LISTS, *_NUMBERS, *_FLAGS, "phase")


def parse_plan(data: Mapping[str, Any], overrides: Mapping[str, str] | None = None) -> LaunchPlan:
    """The plan, with ``overrides`` for its variables. Raises LaunchError: all that is wrong."""
    given = overrides or {}
    problems = list(_malformed(data))
    unknown = set(given) - set(_table(data, "variables"))
    problems += (f"--set names {name}, which is no variable" for name in sorted(unknown))
    if not problems:
        plan = _build(data, given)
        problems = [*_misplaced(plan, _tasks(data)), *_misnamed(plan)]
        if not problems:
            return plan
    raise LaunchError(
        "launch-plan-invalid",
        "The launch plan makes no sense:\n  " + "\n  ".join(problems),
        hint="docs/ops.md says what a plan consists of.",
    )


def _malformed(data: Mapping[str, Any]) -> Iterator[str]:
    """What must be right before anything else can be looked at."""
    yield from (f"{name} is nothing that a plan has" for name in data if name not in _TOP)
    if not _is_text(data.get("title")):
        yield "title is missing"
    for name in ("variables", "phases", "criteria"):
        if not isinstance(data.get(name, {}), dict):
            yield f"{name} must be a table"
    yield from _malformed_words(_table(data, "variables"), _table(data, "phases"))
    yield from _malformed_criteria(_table(data, "criteria"))
    if not _tasks(data):
        yield "there is no [[task]]"
    for place, task in enumerate(_tasks(data), start=1):
        yield from _malformed_task(task, place)


def _malformed_words(variables: Mapping[str, Any], phases: Mapping[str, Any]) -> Iterator[str]:
    for name, value in variables.items():
        if not _VARIABLE.fullmatch(name) or not isinstance(value, str) or name in PLACES:
            yield f"variables.{name} must be text, under a name of its own"
    if not phases:
        yield "phases are missing"
    for name, value in phases.items():
        if not re.fullmatch(r"[1-9]", name) or not _is_text(value):
            yield f"phases.{name} must be a number with a title"


def _malformed_criteria(criteria: Mapping[str, Any]) -> Iterator[str]:
    for name, value in criteria.items():
        if name not in CRITERIA:
            yield f"criteria.{name} is none that can be computed ({', '.join(CRITERIA)})"
        elif not isinstance(value, dict) or not _is_text(value.get("title")):
            yield f"criteria.{name} needs a title"
        else:
            wanted = CRITERIA[name].limits
            for key, limit in value.items():
                if key != "title" and (key not in wanted or not _is_number(limit)):
                    yield f"criteria.{name}.{key} is no figure that it has"
            yield from (f"criteria.{name}.{key} is missing" for key in wanted if key not in value)


def _malformed_task(task: Any, place: int) -> Iterator[str]:
    if not isinstance(task, dict):
        yield f"task {place} must be a table"
        return
    name = task.get("id") if _is_text(task.get("id")) else f"number {place}"
    said = f"task {name}:"
    yield from (f"{said} {key} is nothing that a task has" for key in task if key not in _TASK)
    yield from (f"{said} {key} is missing" for key in _NEEDED if task.get(key) in (None, ""))
    yield from (
        f"{said} {key} must be text" for key in _WORDS if key in task and not _is_text(task[key])
    )
    for key in _LISTS:
        if key in task and not _is_words(task[key], empty=key == "after"):
            yield f"{said} {key} must be a list of words"
    for key in _NUMBERS:
        if key in task and not _is_number(task[key]):
            yield f"{said} {key} must be a number that is not negative"
    if "phase" in task and (not isinstance(task["phase"], int) or isinstance(task["phase"], bool)):
        yield f"{said} phase must be the number of one"
    yield from (
        f"{said} {key} can only be true" for key in _FLAGS if key in task and task[key] is not True
    )
    yield from (f"{said} {problem}" for problem in _unproved(task))


def _unproved(task: Mapping[str, Any]) -> Iterator[str]:
    """A task is verified by a command or attested by a person, and never both."""
    if ("verify" in task) == ("attest" in task):
        yield "it needs either verify or attest = true"
    if ("attest" in task) != ("ask" in task):
        yield "attest = true and ask go together"
    if ("rehearse" in task) != ("rehearse_why" in task):
        yield "rehearse and rehearse_why go together"
    if "rehearse" in task and "verify" not in task:
        yield "rehearse stands for a verify"
    if "act" in task and "verify" not in task:
        yield "what a command does, a command verifies: act goes with verify"
    if "rehearse_act" in task and not ("rehearse" in task and "act" in task):
        yield "rehearse_act stands for an act, where rehearse stands for its verify"
    if isinstance(task.get("id"), str) and not _NAME.fullmatch(task["id"]):
        yield "an id is made of small letters, digits and single dashes"
    if task.get("profile", "none") not in TASK_PROFILES:
        yield f"profile must be one of {', '.join(TASK_PROFILES)}"


def _build(data: Mapping[str, Any], overrides: Mapping[str, str]) -> LaunchPlan:
    raw = _tasks(data)
    tasks = [_task(one, raw[place - 1]["id"] if place else "") for place, one in enumerate(raw)]
    bounds = [
        Bound(name, one["title"], {k: float(v) for k, v in one.items() if k != "title"})
        for name, one in _table(data, "criteria").items()
    ]
    return LaunchPlan(
        title=data["title"],
        phases={int(number): title for number, title in sorted(_table(data, "phases").items())},
        variables={**_table(data, "variables"), **overrides},
        bounds=tuple(bounds),
        tasks=in_order(tuple(tasks)),
        personal=frozenset(k for k, value in _table(data, "variables").items() if not value),
    )


def _task(data: Mapping[str, Any], previous: str) -> Task:
    fields = {name: value for name, value in data.items() if name not in ("attest", "after")}
    lists = {name: tuple(data[name]) for name in _LISTS if name in data}
    numbers = {name: float(data[name]) for name in _NUMBERS if name in data}
    after = tuple(data.get("after", [previous] if previous else []))
    return Task(**{**fields, **lists, **numbers, "after": after})


def _misplaced(plan: LaunchPlan, raw: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Where a task stands, and what it waits for."""
    counted = Counter(one["id"] for one in raw)
    yield from (f"task {name}: there are {n} of this id" for name, n in counted.items() if n > 1)
    phase_of = {one["id"]: one["phase"] for one in raw}
    highest, unknown = 0, False
    for one in raw:
        name, phase = one["id"], one["phase"]
        if phase not in plan.phases:
            yield f"task {name}: there is no phase {phase}"
        if phase < highest:
            yield f"task {name}: it is of phase {phase} and stands after one of phase {highest}"
        highest = max(highest, phase)
        for needed in one.get("after", ()):
            if needed not in phase_of:
                unknown = True
                yield f"task {name}: after names {needed}, which there is not"
            elif phase_of[needed] > phase:
                yield f"task {name}: it waits for {needed}, which is of a later phase"
    left = [one["id"] for one in raw if plan.find(one["id"]) is None]
    if left and not unknown:
        yield f"these wait for each other: {', '.join(left)}"


def _misnamed(plan: LaunchPlan) -> Iterator[str]:
    """Placeholders, variables and criteria that nobody knows or feeds."""
    known = {*PLACES, *plan.variables}
    for task in plan.tasks:
        commands = (task.act, task.verify, task.rehearse, task.rehearse_act)
        used = {name for one in commands for name in places_in(one)}
        yield from (
            f"task {task.id}: {{{name}}} stands for nothing" for name in sorted(used - known)
        )
        if task.profile == "none":
            yield from (
                f"task {task.id}: {{{name}}} needs a profile"
                for name in sorted(used & set(PROFILED))
            )
    stated = {one.id for one in plan.bounds}
    fed = {name for task in plan.tasks for name in task.criteria}
    yield from (f"criterion {name} is not stated under [criteria]" for name in sorted(fed - stated))
    yield from (f"criterion {name} is fed by no task" for name in sorted(stated - fed))


def _tasks(data: Mapping[str, Any]) -> Sequence[Any]:
    found = data.get("task")
    return found if isinstance(found, list) else ()


def _table(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = data.get(name)
    return found if isinstance(found, dict) else {}


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_words(value: Any, *, empty: bool) -> bool:
    return isinstance(value, list) and (empty or bool(value)) and all(map(_is_text, value))


def _is_number(value: Any) -> bool:
    right = isinstance(value, int | float) and not isinstance(value, bool)
    return right and math.isfinite(value) and value >= 0
