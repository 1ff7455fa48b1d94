"""The launch plan: what makes none, in which order it runs, and the real one's commands."""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from launch_stage import make_plan, plan_data, task

from shimmy_ops.adapters.launch.plan_file import read_plan_file
from shimmy_ops.cli.main import COMMANDS, main
from shimmy_ops.domain.launch.commands import PLACES, fill_command, task_digest
from shimmy_ops.domain.launch.criteria import CRITERIA
from shimmy_ops.domain.launch.plan import Command, LaunchPlan
from shimmy_ops.domain.launch.plan_reading import parse_plan
from shimmy_ops.errors import LaunchError
from shimmy_store.cli.main import COMMANDS as STORE_COMMANDS

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (plan_data(task("a", verfy=["x"])), "task a: verfy is nothing that a task has"),
        (plan_data(task("a", why="")), "task a: why is missing"),
        (plan_data(task("a", verify="true")), "task a: verify must be a list of words"),
        (plan_data(task("a", verify=[])), "task a: verify must be a list of words"),
        (plan_data(task("a", days=-1)), "task a: days must be a number that is not negative"),
        (plan_data(task("a", valid_hours=float("nan"))), "task a: valid_hours must be a number"),
        (plan_data(task("a", this_revision="yes")), "task a: this_revision can only be true"),
        (plan_data(task("a", wait_hours=-1)), "task a: wait_hours must be a number that is not"),
        (plan_data(task("a", profile="sandbox")), "task a: profile must be one of none, test"),
        (plan_data(task("A b")), "task A b: an id is made of small letters"),
        (plan_data(task("a", ask="?", verify=["x"])), "task a: it needs either verify or attest"),
        (plan_data({**task("a"), "verify": None}), "task a: verify must be a list of words"),
        (plan_data(task("a", ask="?", attest=False)), "task a: attest can only be true"),
        (plan_data({**task("a"), "ask": "?"}), "task a: attest = true and ask go together"),
        (plan_data(task("a", rehearse=["x"])), "task a: rehearse and rehearse_why go together"),
        (plan_data(task("a", rehearse_act=["x"])), "task a: rehearse_act stands for an act"),
        (
            plan_data(task("a", ask="?", act=["x"])),
            "task a: what a command does, a command verifies",
        ),
        (plan_data(task("a"), task("a")), "task a: there are 2 of this id"),
        (plan_data(task("a", after=["b"])), "task a: after names b, which there is not"),
        (plan_data(task("a", 2), task("b", 1)), "task b: it is of phase 1 and stands after one of"),
        (plan_data(task("a", after=["b"]), task("b", 2)), "it waits for b, which is of a later"),
        (
            plan_data(task("a", after=["c"]), task("b"), task("c")),
            "these wait for each other: a, b, c",
        ),
        (plan_data(task("a", after=["a"])), "these wait for each other: a"),
        (plan_data(task("a"), phases={"2": "Two"}), "task a: there is no phase 1"),
        (plan_data(task("a", verify=["{nobody}"])), "task a: {nobody} stands for nothing"),
        (plan_data(task("a", verify=["{profile}"])), "task a: {profile} needs a profile"),
        (plan_data(task("a", criteria=["no-secret"])), "no-secret is not stated under [criteria]"),
        (
            plan_data(task("a"), criteria={"no-secret": {"title": "None"}}),
            "criterion no-secret is fed by no task",
        ),
        (
            plan_data(task("a"), criteria={"happy": {"title": "All are"}}),
            "criteria.happy is none that can be computed",
        ),
        (
            plan_data(task("a"), criteria={"api-fast": {"title": "Fast"}}),
            "criteria.api-fast.p99_seconds is missing",
        ),
        (plan_data(task("a"), variables={"profile": "x"}), "variables.profile must be text"),
        (plan_data(task("a"), extra=1), "extra is nothing that a plan has"),
        ({"title": "t", "phases": {"1": "x"}}, "there is no [[task]]"),
    ],
)
def test_what_makes_no_sense_is_named(data: dict[str, Any], said: str) -> None:
    with pytest.raises(LaunchError) as refused:
        parse_plan(data)
    assert refused.value.code == "launch-plan-invalid"
    assert said in refused.value.message


def test_all_problems_are_listed_at_once() -> None:
    data = plan_data(task("a", why="", dais=1), task("B"), phases={}, variables={"x": 1})
    with pytest.raises(LaunchError) as refused:
        parse_plan(data)
    for said in ("phases are missing", "variables.x", "a: dais", "a: why", "task B: an id"):
        assert said in refused.value.message


def test_a_task_waits_for_the_one_before_it_unless_it_says_otherwise() -> None:
    plan = make_plan(
        task("a"), task("b"), task("free", after=[]), task("late", after=["later"]),
        task("later", after=["a"]), task("last", 2, after=[]),
    )  # fmt: skip
    before = {one.id: plan.before(one) for one in plan.tasks}
    assert [one.id for one in plan.tasks] == ["a", "b", "free", "later", "late", "last"]
    assert before["b"] == ("a",)
    assert before["free"] == ()
    assert before["late"] == ("a", "later")
    assert set(before["last"]) == {"a", "b", "free", "later", "late"}


def test_what_a_task_proves_is_in_its_digest_and_its_words_are_not() -> None:
    first = make_plan(task("a", verify=["run", "{word}"]), variables={"word": "one", "mine": ""})

    def digest(data: dict[str, Any], **overrides: str) -> str:
        plan = parse_plan(data, overrides)
        return task_digest(plan.tasks[0], plan)

    base = plan_data(task("a", verify=["run", "{word}"]), variables={"word": "one", "mine": ""})
    same = task_digest(first.tasks[0], first)
    assert digest(base) == same
    assert digest({**base, "task": [{**base["task"][0], "title": "Other", "days": 9}]}) == same
    assert digest(base, word="two") != same
    assert digest({**base, "task": [{**base["task"][0], "verify": ["run"]}]}) != same
    personal = plan_data(task("a", verify=["run", "{mine}"]), variables={"mine": ""})
    assert digest(personal, mine="cus_1") == digest(personal)


def test_a_variable_that_the_plan_does_not_have_cannot_be_set() -> None:
    with pytest.raises(LaunchError, match="--set names wrod"):
        parse_plan(plan_data(task("a")), {"wrod": "x"})


@pytest.mark.parametrize(
    "word",
    ["sk_" + "live_abcdefgh", "--api-key=abc", "--token=abc", "smtp://u:p@host", "whsec_" + "a1"],
)
def test_a_word_that_looks_secret_is_refused_before_it_runs(word: str) -> None:
    with pytest.raises(LaunchError) as refused:
        fill_command(("run", "{word}"), {"word": word}, ())
    assert refused.value.code == "secret-in-record"
    assert word not in refused.value.message + refused.value.hint


def test_a_place_that_nothing_is_known_of_is_refused() -> None:
    with pytest.raises(LaunchError, match=r"\{site_url\}"):
        fill_command(("run", "{site_url}"), {"site_url": ""}, ())
    assert fill_command(("run", "{set}"), {}, ("--set", "a=b")) == ["run", "--set", "a=b"]


@pytest.fixture(scope="module")
def real() -> LaunchPlan:
    return parse_plan(read_plan_file(None))


def test_the_real_plan_has_four_phases_and_every_criterion(real: LaunchPlan) -> None:
    assert list(real.phases) == [1, 2, 3, 4]
    assert {one.id for one in real.bounds} == set(CRITERIA)
    assert {one.phase for one in real.tasks} == set(real.phases)
    attested = {one.id for one in real.tasks if one.attested}
    assert {"prices-approved", "support-briefed", "certificates-bought", "go"} <= attested


def test_the_real_watch_is_of_the_day_after_the_announcement(real: LaunchPlan) -> None:
    watch = real.need("watch")
    hours = next(one.limits["hours"] for one in real.bounds if one.id == "available")
    assert watch.after == ("announced",)
    assert watch.wait_hours == hours == float(real.variables["watch_hours"])


def test_what_the_real_plan_says_of_sources_is_said_of_those_that_are_launched(
    real: LaunchPlan,
) -> None:
    """The newest evidence decides, so the last task that feeds such a criterion has to be bound."""
    for name in ("tests-pass", "no-secret"):
        feeding = [one for one in real.tasks if name in one.criteria]
        assert feeding[-1].phase == 4 and feeding[-1].this_revision and feeding[-1].valid_hours


def test_the_real_plan_reads_no_secret_and_every_place_is_filled(real: LaunchPlan) -> None:
    places = {**dict.fromkeys(PLACES, "x"), **dict.fromkeys(real.variables, "x")}
    for one in real.tasks:
        for command in (one.act, one.verify, one.rehearse, one.rehearse_act):
            assert not any("{" in word for word in fill_command(command, places, ()))


def _own_commands(plan: LaunchPlan) -> list[tuple[str, Command]]:
    found = []
    for one in plan.tasks:
        commands = (one.act, one.verify, one.rehearse, one.rehearse_act)
        ours = ("shimmy-ops", "shimmy-store")
        found += [(one.id, command) for command in commands if command and command[0] in ours]
    return found


def _parser(program: str, name: str) -> argparse.ArgumentParser:
    """The real command's."""
    module = {"shimmy-ops": COMMANDS, "shimmy-store": STORE_COMMANDS}[program][name][0]
    parser = argparse.ArgumentParser(exit_on_error=False)
    importlib.import_module(module).add_arguments(name, parser)
    return parser


def test_every_command_of_ours_in_the_real_plan_parses(
    real: LaunchPlan, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = {"watch_hours": "24", "load_seconds": "60", "tests_least": "7000"}
    places = {**dict.fromkeys(PLACES, "x"), **real.variables, "profile": "sandbox"}
    places = {name: numbers.get(name, value) or "x" for name, value in places.items()}
    for name, command in _own_commands(real):
        program, word, *words = fill_command(command, places, ())
        if word == "locks":
            continue
        try:
            _parser(program, word).parse_args(words)
        except (SystemExit, argparse.ArgumentError) as error:
            pytest.fail(f"{name}: {words}: {error} {capsys.readouterr().err}")


def test_every_check_that_the_real_plan_names_is_one_of_preflight(
    real: LaunchPlan, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["preflight", "--list"])
    known = set(re.findall(r"^([a-z][a-z0-9-]+)", capsys.readouterr().out, re.MULTILINE))
    for name, command in _own_commands(real):
        if "--only" in command and command[1] == "preflight":
            named = command[command.index("--only") + 1].split(",")
            assert set(named) <= known, name


def test_every_script_that_the_real_plan_names_is_there(real: LaunchPlan) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for one in real.tasks:
        for command in (one.act, one.verify, one.rehearse):
            for word in command:
                if re.fullmatch(r"(scripts|benchmarks)/\S+", word):
                    assert (ROOT / word).is_file(), word
            if command[:1] == ("make",):
                assert re.search(rf"^{command[1]}:", makefile, re.MULTILINE), command


def test_the_packed_plan_is_in_the_wheel() -> None:
    written = (ROOT / "packages/ops/pyproject.toml").read_text(encoding="utf-8")
    assert '"../../contracts/launch_plan.toml" = "shimmy_ops/contracts/launch_plan.toml"' in written
