"""Ledgers on everything they may lie on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from d1_server import D1Server, find_npm, running_d1, stores_on_d1
from hosts_of_tests import runs_on_d1, runs_on_worker
from ledger_places import Place, in_file, in_memory, memories_on, on_d1, on_server
from postgres_server import PostgresServer, find_programs, running_server
from pyodide_host import Pyodide, open_worker, prepare_pyodide
from store_server import Store, open_store


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests of this process, from the first that asks for it to the last."""
    programs = find_programs()
    if programs is None:
        absent = (
            "PostgreSQL is not installed, but the ledger runs on it: apt-get install postgresql"
        )
        if os.environ.get("SHIMMY_TEST_POSTGRESQL") == "required":
            pytest.fail(absent)
        pytest.skip(absent)
    with running_server(programs) as server:
        yield server


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    """An empty database of that server."""
    return postgres.create_database()


@pytest.fixture(scope="session")
def d1(tmp_path_factory: pytest.TempPathFactory) -> Iterator[D1Server]:
    """Local D1 for all tests of this process."""
    npm = find_npm()
    if npm is None:
        absent = "wrangler cannot be installed, but the ledger runs on D1: apt-get install npm"
        if os.environ.get("SHIMMY_TEST_D1") in ("required", "all"):
            pytest.fail(absent)
        pytest.skip(absent)
    with running_d1(npm, tmp_path_factory.mktemp("d1")) as server:
        yield server


# Hundreds of batches each; SHIMMY_TEST_D1=all runs them, too.
_LONG_ON_D1 = {
    "test_messages_go_to_one_program_each",
    "test_programs_that_all_hear_settle_and_send",
}


@pytest.fixture(params=["memory", "file", "postgresql", "d1"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Somewhere for a ledger: what it promises, it promises everywhere."""
    if request.param == "memory":
        return in_memory()
    if request.param == "file":
        return in_file(tmp_path / "ledger.sqlite")
    if request.param == "d1":
        every = os.environ.get("SHIMMY_TEST_D1") == "all"
        if not every and getattr(request.node, "originalname", "") in _LONG_ON_D1:
            pytest.skip("long on D1: SHIMMY_TEST_D1=all runs it")
        return on_d1(request.getfixturevalue("d1").create_database())
    return on_server(request.getfixturevalue("url"))


# Four seconds of waiting, for Stripe.
_WAITS = {"test_a_payment_that_takes_time_is_no_licence_yet"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of the store run where ``hosts_of_tests`` says."""
    module = metafunc.module.__name__.rpartition(".")[2]
    test = metafunc.function.__name__
    if "ledger_place" in metafunc.fixturenames:
        places = ["file"]
        every = os.environ.get("SHIMMY_TEST_D1") == "all"
        if runs_on_d1(module, "store", test) and (every or test not in _WAITS):
            places.append("d1")
        if runs_on_worker(module, test):
            places.append("worker")
        if len(places) > 1:
            metafunc.parametrize("ledger_place", places, indirect=True, scope="module")
    elif runs_on_d1(module, "memory", test):
        metafunc.parametrize("memory_place", ["memory", "d1"], indirect=True)


@pytest.fixture(autouse=True)
def memory_place(request: pytest.FixtureRequest) -> Iterator[None]:
    """Where ledgers lie that a test keeps in memory."""
    if getattr(request, "param", "memory") == "memory":
        yield
        return
    server: D1Server = request.getfixturevalue("d1")
    with memories_on(lambda: on_d1(server.create_database())):
        yield


@pytest.fixture(scope="module")
def ledger_place(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the ledgers lie of all stores that are opened meanwhile."""
    where = str(getattr(request, "param", "file"))
    if where != "d1":
        yield where
        return
    with stores_on_d1(request.getfixturevalue("d1")):
        yield where


@pytest.fixture(scope="session")
def pyodide(tmp_path_factory: pytest.TempPathFactory) -> Pyodide:
    """The bundle as it would be deployed, and what it runs on."""
    try:
        return prepare_pyodide(tmp_path_factory.mktemp("bundle"))
    except FileNotFoundError as absent:
        if os.environ.get("SHIMMY_TEST_PYODIDE") in ("required", "all"):
            pytest.fail(str(absent))
        pytest.skip(str(absent))


@pytest.fixture(scope="module")
def store(
    request: pytest.FixtureRequest, ledger_place: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """The whole store on loopback, one a test file and a place for its ledger."""
    folder = tmp_path_factory.mktemp("store")
    if ledger_place == "worker":
        with open_worker(request.getfixturevalue("pyodide"), folder, moved=True) as (opened, _):
            yield opened
        return
    with open_store(folder) as opened:
        yield opened
    if ledger_place == "d1":
        assert not folder.joinpath("ledger.sqlite").exists(), "all of it is on D1"
