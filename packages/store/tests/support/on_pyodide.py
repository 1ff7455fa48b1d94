"""A pytest plugin for Pyodide: a loop without sockets or threads, and ledgers that lie there."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings, stateful

_EXAMPLES = 5
_SETTINGS = settings
# Where Hypothesis keeps what a test's own decorator says.
_OWN_SETTINGS = "_hypothesis_internal_use_settings"
settings.register_profile(
    "pyodide",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
    max_examples=_EXAMPLES,
    database=None,
)
settings.load_profile("pyodide")


class _Absent:
    """What no test may reach here."""


def _leave_out(name: str, *names: str) -> None:
    stub = ModuleType(name)
    for one in names:
        setattr(stub, one, _Absent)
    sys.modules[name] = stub


# What the support for ledgers imports for places that are not on Pyodide.
_leave_out("shimmy_store.adapters.postgres_database", "PostgresDatabase")
_leave_out("d1_server", "BridgedD1", "D1Server")
# What they say of tests that need these is left out below.
_leave_out("postgres_server", "PostgresServer")
_leave_out("store_server", "Store")
_FIXTURES_ELSEWHERE = {"store", "postgres", "d1"}

_live = stateful.run_state_machine_as_test


def _live_shortly(machine: Any, *, settings: settings | None = None, **more: Any) -> None:
    few = _SETTINGS(settings, max_examples=_EXAMPLES, database=None)
    _live(machine, settings=few, **more)


setattr(stateful, _live.__name__, _live_shortly)


class _Waiting:
    """A selector without anything to select: it only lets time pass."""

    def select(self, timeout: float | None) -> list[Any]:
        time.sleep(timeout or 0)
        return []


class _Loop(asyncio.BaseEventLoop):
    _selector = _Waiting()

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody else could have to wake it."""


class _Runner:
    """As ``asyncio.Runner``: one loop for several calls."""

    def __init__(self, **_: Any) -> None:
        self._loop = _Loop()

    def run(self, main: Coroutine[Any, Any, Any], **_: Any) -> Any:
        before = asyncio.events._get_running_loop()
        asyncio.events._set_running_loop(None)
        try:
            return self._loop.run_until_complete(main)
        finally:
            asyncio.events._set_running_loop(before)

    def close(self) -> None:
        self.run(self._loop.shutdown_asyncgens())
        self._loop.close()


def _run(main: Coroutine[Any, Any, Any], **_: Any) -> Any:
    runner = _Runner()
    try:
        return runner.run(main)
    finally:
        runner.close()


# Pyodide's own loop is the browser's, and cannot be run until something is done.
asyncio.run = _run
setattr(asyncio, "Runner", _Runner)  # noqa: B010 - a class of ours stands for a class


@pytest.fixture(params=["memory", "file"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """As in conftest.py, as far as it goes here."""
    from ledger_places import in_file, in_memory

    return in_memory() if request.param == "memory" else in_file(tmp_path / "ledger.sqlite")


# They are about SQLite's own thread, about PostgreSQL, and about a package that no Worker has.
_NOT_HERE = {
    "test_a_caller_that_goes_away_leaves_nothing_half_done",
    "test_a_ledger_moves_from_sqlite_to_postgresql_and_back",
    "test_the_published_schema_accepts_what_is_sold",
}


def _runs(item: pytest.Item) -> bool:
    if _FIXTURES_ELSEWHERE & {*getattr(item, "fixturenames", ())}:
        return False
    return item.name.partition("[")[0] not in _NOT_HERE


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A few examples each: it is the interpreter that is on trial here, and it is slow."""
    items[:] = [one for one in items if _runs(one)]
    for item in items:
        function = getattr(item, "obj", None)
        own = getattr(function, _OWN_SETTINGS, None)
        if own is not None:
            setattr(function, _OWN_SETTINGS, settings(own, max_examples=_EXAMPLES, database=None))
