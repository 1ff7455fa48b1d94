"""A store starts on the ledger of each earlier version while customers buy, and loses nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from ledger_places import Place, in_file, on_server
from old_ledgers import OldLedger, kept_schemas, old_ledger
from store_server import Store, eventually, key_on, open_store

from shimmy_store.adapters.ledger_schema import MIGRATIONS, migrate_ledger
from shimmy_store.domain.ledger_dump import SCHEMA
from shimmy_store.ports.database import Row

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
_LASTING = ("customers", "events", "outbox", "alarms")


@dataclass
class Visitors:
    """Who looks at pages all the while; ``refused`` is what they should not have seen."""

    url: str
    stopping: threading.Event = field(default_factory=threading.Event)
    seen: int = 0
    refused: list[str] = field(default_factory=list)

    def run(self) -> None:
        with httpx.Client(trust_env=False, timeout=30) as web:
            while not self.stopping.is_set():
                for path in ("/pricing", "/ready"):
                    answer = web.get(f"{self.url}{path}")
                    self.seen += 1
                    if answer.status_code != 200:
                        self.refused.append(f"{path}: {answer.status_code}")


@contextmanager
def visited(store: Store) -> Iterator[Visitors]:
    visitors = Visitors(store.url)
    thread = threading.Thread(target=visitors.run, daemon=True)
    thread.start()
    try:
        yield visitors
    finally:
        visitors.stopping.set()
        thread.join()


def _in(place: Place, old: OldLedger) -> Mapping[str, Sequence[Row]]:
    async def run() -> Mapping[str, Sequence[Row]]:
        async with place.opened(1) as (database,):
            return {one: await old.read(database, one) for one in _LASTING}

    return asyncio.run(run())


def _make(place: Place, old: OldLedger) -> None:
    async def run() -> None:
        async with place.opened(1) as (database,):
            await old.make(database)

    asyncio.run(run())


def _replay(place: Place, old: OldLedger) -> None:
    async def run() -> None:
        async with place.opened(1) as (database,):
            await old.replay(database)

    asyncio.run(run())


def test_every_schema_that_ever_was_has_a_ledger_kept_and_its_steps_never_changed() -> None:
    assert kept_schemas() == list(range(1, SCHEMA + 1)), "scripts/make_ledger_sample.py makes it"
    for schema in kept_schemas():
        assert old_ledger(schema).steps == MIGRATIONS[:schema]


@pytest.mark.parametrize("where", ["file", "postgresql"])
@pytest.mark.parametrize("schema", kept_schemas())
def test_a_new_store_on_an_old_ledger_sells_at_once_and_keeps_what_was_there(
    schema: int, where: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    old, path = old_ledger(schema), tmp_path / "ledger.sqlite"
    url = request.getfixturevalue("url") if where == "postgresql" else f"sqlite:///{path}"
    place = on_server(url) if where == "postgresql" else in_file(path)
    _make(place, old)
    before = _in(place, old)
    with open_store(tmp_path, ledger=url) as store, visited(store) as visitors:
        keys = {key_on(store.buy("startup", f"new{one}@example.com").text) for one in range(2)}
        if where == "postgresql":
            # A host of the version before goes on at the same ledger while hosts are replaced.
            _replay(place, old)
        for one in range(2):
            assert store.mail(f"new{one}@example.com", "shimmy license activate")
        eventually(lambda: visitors.seen > 10)
    assert len(keys) == 2 and not visitors.refused, visitors.refused
    after = _in(place, old)
    if where == "postgresql":
        # That host looked at its customers again, and so settled what had been given up.
        assert len(after["events"]) == len(before["events"])
        before = {**before, "events": after["events"]}
    assert after == before
    for table in ("customers", "outbox"):
        assert list(before[table]) == list(old.kept(table)), "as its own version left it"


@pytest.mark.parametrize("schema", kept_schemas())
def test_what_an_old_version_writes_into_newer_tables_is_what_it_wrote_into_its_own(
    schema: int, tmp_path: Path
) -> None:
    old = old_ledger(schema)

    async def run() -> None:
        async with in_file(tmp_path / "ledger.sqlite").opened(1) as (database,):
            assert await migrate_ledger(database) == SCHEMA
            await old.replay(database)
            for table in ("customers", "outbox", "alarms"):
                assert sorted(await old.read(database, table)) == list(old.kept(table)), table

    asyncio.run(run())
