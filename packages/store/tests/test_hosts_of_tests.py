"""Which tests run on which of the three hosts: nothing runs nowhere by being forgotten."""

from __future__ import annotations

import ast
from pathlib import Path

import hosts_of_tests
import pytest
from hosts_of_tests import (
    D1,
    NOT_AT_WORKER,
    NOT_ON_D1,
    TABLE,
    Runs,
    inside_pyodide,
    runs_on_d1,
    runs_on_worker,
)

HERE = Path(__file__).parent
MODULES = sorted(one.stem for one in HERE.glob("test_*.py"))


def _tests(module: str) -> set[str]:
    tree = ast.parse((HERE / f"{module}.py").read_text())
    return {
        one.name
        for one in tree.body
        if isinstance(one, ast.FunctionDef) and one.name.startswith("test_")
    }


def test_every_module_is_told_where_it_runs() -> None:
    missing = set(MODULES) - set(TABLE)
    assert not missing, f"say in support/hosts_of_tests.py where these run: {missing}"
    assert not set(TABLE) - set(MODULES)


def test_whoever_runs_not_somewhere_has_one_of_the_reasons() -> None:
    reasons = {one for one in vars(hosts_of_tests).values() if isinstance(one, str) and " " in one}
    for module, row in TABLE.items():
        for host in row:
            assert isinstance(host, Runs) or host in reasons, module


@pytest.mark.parametrize("module", MODULES)
def test_a_module_gets_its_ledger_as_its_row_says(module: str) -> None:
    text = (HERE / f"{module}.py").read_text()
    pyodide, d1 = TABLE[module]
    if isinstance(d1, Runs):
        words = {
            "place": "place: Place",
            "store": "store: Store",
            "memory": ("in_memory()", "in_store("),
            "own": "d1",
        }[d1.how]
        assert any(one in text for one in ([words] if isinstance(words, str) else words))
        # Tests that are gone stand for nothing.
        assert set(d1.few or ()) <= _tests(module)
    elif d1 == hosts_of_tests.NO_LEDGER:
        assert "in_memory()" not in text
        assert "place: Place" not in text
    if isinstance(pyodide, Runs):
        assert pyodide.how != "worker" or "store: Store" in text
        assert pyodide.how != "inside" or f"{module}.py" in [
            *inside_pyodide(),
            "test_site_check.py",
        ]


@pytest.mark.parametrize(("left_out", "host"), [(NOT_AT_WORKER, 0), (NOT_ON_D1, 1)])
def test_whoever_is_left_out_of_a_module_is_in_one_that_runs(
    left_out: dict[str, str], host: int
) -> None:
    running = [one for one, row in TABLE.items() if isinstance(row[host], Runs)]
    assert set(left_out) <= {test for module in running for test in _tests(module)}
    assert all(left_out.values())


def test_a_long_one_runs_when_all_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    module, test = "test_sweep_events", "test_a_few_are_looked_at_at_once"
    monkeypatch.delenv(D1, raising=False)
    assert not runs_on_d1(module, "memory", test)
    assert runs_on_d1(module, "memory", "test_a_sweeper_that_is_stopped_leaves_nobody_at_work")
    monkeypatch.setenv(D1, "all")
    assert runs_on_d1(module, "memory", test)
    assert not runs_on_d1(module, "store", test)
    assert runs_on_worker("test_store_journey", "test_programs_are_told_where_to_go")
    assert not runs_on_d1("test_unheard_of", "place", test)
