"""Ledgers on everything they may lie on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_places import Place, in_file, in_memory, on_server
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


@pytest.fixture(params=["memory", "file", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Somewhere for a ledger: what it promises, it promises everywhere."""
    if request.param == "memory":
        return in_memory()
    if request.param == "file":
        return in_file(tmp_path / "ledger.sqlite")
    return on_server(request.getfixturevalue("url"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The whole store on loopback, one a test file."""
    with open_store(tmp_path_factory.mktemp("store")) as opened:
        yield opened
