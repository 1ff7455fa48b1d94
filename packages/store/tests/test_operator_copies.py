"""The whole ledger over HTTP: dumped, checked, restored into another store; what is refused."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from operating import BEARER, OPERATOR_TOKEN, operator, problem
from store_server import Store, open_store
from visiting import Door, at_door

from shimmy_store.adapters.ledger_schema import migrate_ledger
from shimmy_store.adapters.sql_ledger_copies import SqlLedgerCopies
from shimmy_store.adapters.sqlite_database import SqliteDatabase
from shimmy_store.cli import serve
from shimmy_store.server import guard

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

LINES = {"Content-Type": "application/x-ndjson"}


@pytest.fixture(scope="module")
def store(ledger_place: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("store")
    with open_store(folder, operator_tokens=(OPERATOR_TOKEN,)) as opened:
        opened.buy("startup", "ada@example.com")
        opened.settle()
        yield opened


@pytest.fixture(scope="module")
def dump(store: Store) -> bytes:
    with operator(store) as desk:
        answer = desk.get("/dump")
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["cache-control"] == "no-store"
    return answer.content


def at_empty(store: Store, path: Path, *requests: tuple[str, str, bytes]) -> list[httpx.Response]:
    """Requests, one after the other, to a store whose ledger lies elsewhere."""

    async def act(door: Door) -> list[httpx.Response]:
        async with door.visitor(**BEARER, **LINES) as visitor:
            return [
                await visitor.request(method, address, content=body)
                for method, address, body in requests
            ]

    return at_door(store, act, ledger=f"sqlite:///{path}")


def restore(body: bytes) -> tuple[str, str, bytes]:
    return "POST", "/operator/restore", body


def health() -> tuple[str, str, bytes]:
    return "GET", "/health", b""


def test_a_dump_has_header_rows_and_end(dump: bytes) -> None:
    *lines, end = dump.splitlines(keepends=True)
    header = json.loads(lines[0])
    assert (header["format"], header["version"], header["mode"]) == ("shimmy-ledger", 1, "test")
    assert sum(header["tables"].values()) == len(lines) - 1 > 3
    assert list(header["tables"]) == ["customers", "events", "outbox", "links", "alarms"]
    digest = hashlib.sha256(b"".join(lines)).hexdigest()
    assert json.loads(end) == {"end": True, "rows": len(lines) - 1, "sha256": digest}
    first = json.loads(lines[1])
    assert (first["t"], first["r"]["email"]) == ("customers", "ada@example.com")


def test_another_store_goes_on_with_a_restored_ledger(
    store: Store, dump: bytes, tmp_path: Path
) -> None:
    answers = at_empty(
        store,
        tmp_path / "other.sqlite",
        restore(dump),
        ("GET", "/operator/dump", b""),
        ("POST", "/operator/customers", b'{"email": "ada@example.com"}'),
        restore(dump),
    )
    done, again, found, refused = answers
    header, end = (json.loads(dump.splitlines()[place]) for place in (0, -1))
    assert done.json() == {
        "rows": end["rows"],
        "tables": header["tables"],
        "sha256": end["sha256"],
    }
    made = again.content.splitlines()
    assert made[1:-1] == dump.splitlines()[1:-1], "but for when it was made"
    assert found.json()["customers"][0]["plan"] == "startup"
    problem(refused, 409, "ledger-not-empty")


def changed(dump: bytes, **header: Any) -> bytes:
    """With another header, and an end that fits it."""
    first, *rows, _ = dump.splitlines(keepends=True)
    body = json.dumps({**json.loads(first), **header}).encode() + b"\n" + b"".join(rows)
    end = {"end": True, "rows": len(rows), "sha256": hashlib.sha256(body).hexdigest()}
    return body + json.dumps(end).encode() + b"\n"


def test_what_is_not_for_this_store_is_refused_and_nothing_stays(
    store: Store, dump: bytes, tmp_path: Path
) -> None:
    half = dump[: len(dump) // 2]
    flipped = dump.replace(b"startup", b"starTup", 1)
    bodies = (b"", half, flipped, changed(dump, mode="live"), changed(dump, schema=99), dump)
    answers = at_empty(store, tmp_path / "other.sqlite", *map(restore, bodies), health())
    *refused, last, well = answers
    codes = [(one.status_code, one.json()["code"]) for one in refused]
    assert codes == [
        *[(400, "dump-damaged")] * 3,
        (409, "dump-of-other-mode"),
        (409, "dump-of-newer-schema"),
    ]
    for one, (status, code) in zip(refused, codes, strict=True):
        assert "ada" not in str(problem(one, status, code))
    assert last.status_code == 200, "none of those left anything"
    assert well.json()["checks"]["ledger"] == "ok"


def half_restored(folder: Path) -> Path:
    """A ledger whose restore was cut off."""
    path = folder / "other.sqlite"

    async def begin() -> None:
        database = SqliteDatabase(path)
        await migrate_ledger(database)
        assert await SqlLedgerCopies(database).begin("cut off")
        await database.close()

    asyncio.run(begin())
    return path


def test_a_half_restored_ledger_is_unwell_until_it_is_restored(
    store: Store, dump: bytes, tmp_path: Path
) -> None:
    path = half_restored(tmp_path)
    answers = at_empty(
        store,
        path,
        health(),
        ("GET", "/operator/figures", b""),
        ("GET", "/operator/dump", b""),
        restore(dump),
    )
    sick, figures, refused, done = answers
    assert (sick.status_code, sick.json()["checks"]["ledger"]) == (503, "ledger-half-restored")
    for one in (figures, refused):
        read = problem(one, 503, "ledger-half-restored")
        assert "restore" in read["hint"]
        assert int(one.headers["retry-after"]) > 0
    assert done.status_code == 200
    # Another process asks: a report is good for some seconds.
    (well,) = at_empty(store, path, health())
    assert well.json()["checks"]["ledger"] == "ok"


def test_a_store_with_a_half_restored_ledger_starts(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = half_restored(tmp_path)
    asyncio.run(serve._check(replace(store.settings, ledger=f"sqlite:///{path}")))
    assert "restore it once more" in capsys.readouterr().err


def test_a_dump_may_be_larger_than_other_bodies_but_not_endless(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(guard._MOST, "/operator/restore", 300_000)
    small, large = at_empty(
        store, tmp_path / "other.sqlite", restore(b"x" * 200_000), restore(b"x" * 400_000)
    )
    problem(small, 400, "dump-damaged")
    problem(large, 413, "body-too-large")


def test_without_the_token_no_byte_of_a_dump_is_read(store: Store) -> None:
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(50):
            read += 1
            yield b"x" * 65536

    async def act(door: Door) -> httpx.Response:
        async with door.visitor("203.0.113.77") as visitor:
            return await visitor.post("/operator/restore", content=body())

    problem(at_door(store, act), 401, "operator-refused")
    assert read == 0


def test_a_dump_may_take_longer_than_other_bodies(
    store: Store, monkeypatch: pytest.MonkeyPatch, dump: bytes, tmp_path: Path
) -> None:
    """The guard's patience is for a whole body; here it is none at all, but for a dump."""
    monkeypatch.setattr(guard, "_DUMP_PATIENCE_SECONDS", 60.0)
    monkeypatch.setattr(guard.Guard.__init__, "__defaults__", (0.0,))

    async def slowly(content: bytes) -> AsyncIterator[bytes]:
        await asyncio.sleep(0.01)
        yield content

    async def act(door: Door) -> list[httpx.Response]:
        async with door.visitor(**BEARER) as visitor:
            send = partial(visitor.post, headers=LINES)
            return [
                await send("/operator/restore", content=slowly(dump)),
                await send("/operator/look", content=slowly(b"{}")),
            ]

    done, slow = at_door(store, act, ledger=f"sqlite:///{tmp_path / 'other.sqlite'}")
    assert done.status_code == 200
    problem(slow, 408, "body-too-slow")
