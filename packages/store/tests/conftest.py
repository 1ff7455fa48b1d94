"""Ledgers on everything they may lie on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from d1_server import BridgedD1, D1Server, find_npm, running_d1, stores_on_d1
from ledger_places import Place, in_file, in_memory, on_d1, on_server
from postgres_server import PostgresServer, find_programs, running_server
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


# What these show is that of a journey, and the files' own names for it; see docs/deploy.md.
_STORES_ON_D1 = ("test_store_journey",)


# Four seconds of waiting, for Stripe.
_WAITS = {"test_a_payment_that_takes_time_is_no_licence_yet"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A customer's way through the store, also with the ledger on D1."""
    if "store" in metafunc.fixturenames:
        module = metafunc.module.__name__.rpartition(".")[2]
        if module in _STORES_ON_D1:
            every = os.environ.get("SHIMMY_TEST_D1") == "all"
            both = every or metafunc.function.__name__ not in _WAITS
            places = ["file", "d1"] if both else ["file"]
            metafunc.parametrize("store", places, indirect=True, scope="module")


@pytest.fixture(scope="module")
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """The whole store on loopback, one a test file and a place for its ledger."""
    folder = tmp_path_factory.mktemp("store")
    with ExitStack() as stack:
        if getattr(request, "param", "file") == "d1":
            address = request.getfixturevalue("d1").create_database()
            stack.enter_context(stores_on_d1(address))
            opened = stack.enter_context(open_store(folder))
            opened.town.connect = lambda: BridgedD1(address)
            yield opened
            assert not folder.joinpath("ledger.sqlite").exists(), "all of it is on D1"
        else:
            yield stack.enter_context(open_store(folder))
