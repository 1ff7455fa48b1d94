"""The store and the sandbox's town as processes of their own, and a look into the ledger."""

from __future__ import annotations

import os
import shlex
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx

ROOT = Path(__file__).resolve().parent.parent
_START_SECONDS, _END_SECONDS = 60, 20
_PAGE = 100


class StreetError(Exception):
    """The store or the town does not come up; the message holds what it said."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What the ledger holds: ids of all events, who is settled, how many events are open."""

    ids: Sequence[str]
    settled: frozenset[str]
    open: int


class LedgerView(Protocol):
    """Reads beside the store, and never writes."""

    described: str

    def pending(self) -> int:
        """Events that wait."""

    def read(self) -> Kept:
        """Everything that the promises are about."""


@dataclass(frozen=True, slots=True)
class Street:
    """Everything that runs. ``processes``: their ids by name."""

    url: str
    port: int
    settings: Mapping[str, str]
    ledger: LedgerView
    processes: Mapping[str, int]


class _Tables:
    """What is asked is the same on every ledger; ``_ask`` differs."""

    def pending(self) -> int:
        return int(self._ask("SELECT COUNT(*) FROM events WHERE state = 'pending'")[0][0])

    def read(self) -> Kept:
        ids = [str(one) for (one,) in self._ask("SELECT id FROM events")]
        settled = self._ask("SELECT customer FROM customers WHERE settled IS NOT NULL")
        waiting = self._ask("SELECT COUNT(*) FROM events WHERE state NOT IN ('done', 'unknown')")
        return Kept(ids, frozenset(str(one) for (one,) in settled), int(waiting[0][0]))

    def _ask(self, sql: str) -> Sequence[tuple[Any, ...]]:
        raise NotImplementedError


class SqliteView(_Tables):
    """The file, opened read-only for each look."""

    described = "sqlite, synchronous=FULL"

    def __init__(self, path: Path) -> None:
        self._path = path

    def _ask(self, sql: str) -> Sequence[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True)) as file:
            return file.execute(sql).fetchall()


class PostgresView(_Tables):
    """A database of a server of our own."""

    described = "postgresql, fsync=on"

    def __init__(self, url: str) -> None:
        self._url = url

    def _ask(self, sql: str) -> Sequence[tuple[Any, ...]]:
        import psycopg

        with psycopg.connect(self._url, options="-c default_transaction_read_only=on") as server:
            return server.execute(sql.encode()).fetchall()


@contextmanager
def open_street(folder: Path, ledger: str) -> Iterator[Street]:
    """On free ports, with everything in ``folder``; nothing of it is left running."""
    with ExitStack() as stack:
        port = _free_port()
        url = f"http://127.0.0.1:{port}"
        said, log = folder / "town.out", folder / "store.out"
        plans = str(ROOT / "contracts/plans.json")
        town = ("town", "serve", "--state", str(folder), "--plans", plans, "--ports", "auto")
        command = ("shimmy-sandbox", *town, "--store-url", url)
        sandbox = stack.enter_context(_running(command, said, os.environ))
        _await(said, lambda: "\nready" in said.read_text(encoding="utf-8"), sandbox)
        settings = _read_settings(folder / "store.env")
        view: LedgerView = SqliteView(folder / "ledger.sqlite")
        if ledger == "postgresql":
            place = stack.enter_context(postgresql())
            settings["SHIMMY_STORE_LEDGER"], view = place, PostgresView(place)
        serve = ("shimmy-store", "serve", "--port", str(port))
        store = stack.enter_context(_running(serve, log, {**os.environ, **settings}))
        _await(log, lambda: _listens(port), store)
        yield Street(url, port, settings, view, {"store": store.pid, "sandbox": sandbox.pid})


def restarted(street: Street) -> float:
    """Seconds from the command of one more store, on the same ledger, to its first answer."""
    port = _free_port()
    serve = ("shimmy-store", "serve", "--port", str(port))
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "store.out")
        began = time.perf_counter()
        with _running(serve, log, {**os.environ, **street.settings}) as store:
            _await(log, lambda: _listens(port), store)
            url = f"http://127.0.0.1:{port}/alive"
            httpx.get(url, trust_env=False, timeout=30).raise_for_status()
            return time.perf_counter() - began


def count_licences(street: Street) -> Counter[str]:
    """How many licences each customer has at Keygen."""
    place, token = "SHIMMY_STORE_KEYGEN_URL", "SHIMMY_STORE_KEYGEN_TOKEN"
    account = street.settings["SHIMMY_STORE_KEYGEN_ACCOUNT"]
    url = f"{street.settings[place]}/v1/accounts/{account}/licenses"
    headers = {"Authorization": f"Bearer {street.settings[token]}"}
    found: Counter[str] = Counter()
    number, page = 0, [None] * _PAGE
    while len(page) == _PAGE:
        number += 1
        asked = {"page[size]": str(_PAGE), "page[number]": str(number)}
        reply = httpx.get(url, params=asked, headers=headers, trust_env=False, timeout=30)
        page = reply.raise_for_status().json()["data"]
        found.update(str(one["attributes"]["metadata"].get("customer")) for one in page)
    return found


@contextmanager
def _running(
    command: Sequence[str], said: Path, environ: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    program = Path(sys.executable).with_name(command[0])
    with said.open("wb") as output:
        process = subprocess.Popen(
            [program, *command[1:]], stdout=output, stderr=output, env=dict(environ)
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(said: Path, ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        if ready():
            return
        time.sleep(0.01)
    raise StreetError(f"{said.stem} did not start:\n{said.read_text(encoding='utf-8')}")


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _read_settings(path: Path) -> dict[str, str]:
    words = shlex.split(path.read_text(encoding="utf-8"))
    return dict(one.split("=", 1) for one in words if "=" in one)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def postgresql() -> Iterator[str]:
    """Its address: an empty database of the tests' server; but durable, as a shop's would be."""
    sys.path.insert(0, str(ROOT / "packages/store/tests/support"))
    import postgres_server

    programs = postgres_server.find_programs()
    if programs is None:
        raise StreetError("PostgreSQL is not installed: apt-get install postgresql")
    postgres_server._SETTINGS.update(fsync="on", full_page_writes="on")
    with postgres_server.running_server(programs) as server:
        yield server.create_database()
