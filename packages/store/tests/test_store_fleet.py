"""Two hosts with two workers each on one PostgreSQL: restarted in turn while customers buy."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from ledger_places import open_on_server
from postgres_server import PostgresServer
from prometheus_client.parser import text_string_to_metric_families
from store_hosts import Fleet, Host, open_fleet
from store_server import eventually, key_on
from town import NO_TLS

from shimmy_store.adapters.ledger_schema import _ONE_AT_A_TIME, MIGRATIONS, migrate_ledger
from shimmy_store.adapters.postgres_database import PostgresDatabase
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.cli.main import main
from shimmy_store.ports.database import Statement

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

PROGRAMS = 8
_MOST_EACH = 8


@pytest.fixture(scope="module")
def ledger(postgres: PostgresServer) -> str:
    return postgres.create_database()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, ledger: str) -> Iterator[Fleet]:
    with open_fleet(tmp_path_factory.mktemp("fleet"), ledger, 2) as opened:
        yield opened


def test_workers_share_an_address_and_their_figures(fleet: Fleet) -> None:
    host = fleet.hosts[0]
    assert len(host.pids()) == 2
    before = _count(host, "alive")
    asked = 12
    for _ in range(asked):
        answer = host.get("/alive")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        assert answer.headers["cache-control"] == "no-store"
    # A worker counts after it has answered.
    eventually(lambda: _count(host, "alive") - before >= asked)
    # Whichever worker answers.
    assert [_count(host, "alive") - before for _ in range(6)] == [asked] * 6


def _count(host: Host, endpoint: str) -> float:
    """Requests that were answered, and the histogram of their times, which has to agree."""

    def agreed() -> tuple[float] | None:
        # Another worker may be between the two.
        requests, seconds = _counts(host, endpoint)
        return (requests,) if requests == seconds else None

    return eventually(agreed)[0]


def _counts(host: Host, endpoint: str) -> tuple[float, float]:
    found: Counter[str] = Counter()
    names = Counter[str]()
    for family in text_string_to_metric_families(host.get("/metrics").text):
        names[family.name] += 1
        for sample in family.samples:
            if sample.labels.get("endpoint") == endpoint:
                found[sample.name] += int(sample.value)
            assert "pid" not in sample.labels
    assert set(names.values()) == {1}, "no figure is told twice"
    assert {"shimmy_store_events", "shimmy_store_alarms"} <= set(names)
    return found["shimmy_store_requests_total"], found["shimmy_store_request_seconds_count"]


def test_a_worker_that_ends_is_begun_anew(fleet: Fleet) -> None:
    host = fleet.hosts[1]
    counted = _count(host, "alive") + 6
    for _ in range(6):
        host.get("/alive")
    # Whoever is killed before it has counted never counts.
    eventually(lambda: _count(host, "alive") == counted)
    for _ in range(2):
        before = host.pids()
        os.kill(min(before), signal.SIGKILL)
        _worker_is_new(host, before)
    assert host.get("/alive").status_code == 200
    # What it counted stays, in the file that the one after it goes on with.
    assert eventually(lambda: _count(host, "alive") == counted + 1)
    for folder in host.folder.glob("shimmy-store-*"):
        # One that was never asked has a place, and no file yet.
        assert {one.name for one in folder.glob("slot-*")} == {"slot-1", "slot-2"}
        assert {one.stem for one in folder.glob("counter_*.db")} <= {"counter_1", "counter_2"}


def _worker_is_new(host: Host, before: set[int]) -> None:
    after = eventually(lambda: host.pids() if len(host.pids() - before) == 1 else None)
    assert len(after) == 2
    host.wait()


def test_a_visit_goes_on_at_another_host(fleet: Fleet) -> None:
    """Every request of this visitor takes a connection of its own: to the next host each time."""
    visitor = fleet.store.visitor()
    visitor.client.headers["Connection"] = "close"
    email = "roams@example.com"
    key = key_on(_buy(fleet, "developer", email, visitor.client))
    for host in fleet.hosts * 2:
        shown = visitor.client.get(f"{host.url}/view-license")
        assert key in shown.text, "what the browser proved at one host, it has proved"


def _buy(
    fleet: Fleet, plan: str, email: str, client: httpx.Client, failures: list[str] | None = None
) -> str:
    """From the link to the page that shows the licence; who sees an error loads the page again."""
    told: list[str] = [] if failures is None else failures

    def load(url: str) -> httpx.Response | None:
        try:
            answer = client.get(url)
        except httpx.TransportError as error:
            told.append(repr(error))
            return None
        if answer.status_code >= 500:
            told.append(answer.text)
            return None
        return answer

    way = eventually(lambda: load(f"/buy?plan={plan}"))
    assert way.status_code == 303, way.text
    back = fleet.store.pay(way.headers["location"], email)

    def look() -> str | None:
        page = load(back)
        return page.text if page is not None and 'id="licence-key"' in page.text else None

    return eventually(look)


class Customers(threading.Thread):
    """Buy, one after the other, until they are told to stop."""

    def __init__(self, fleet: Fleet, number: int) -> None:
        super().__init__()
        self._fleet, self._number = fleet, number
        self.bought: list[str] = []
        self.failures: list[str] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        with httpx.Client(
            base_url=self._fleet.store.url,
            trust_env=False,
            verify=NO_TLS,
            headers={"Accept": "text/html", "Connection": "close"},
            timeout=30,
        ) as client:
            # An address may begin so many purchases in ten minutes.
            while not self.stopping.is_set() and len(self.bought) < _MOST_EACH:
                email = f"{self._number}-{len(self.bought)}@example.com"
                client.cookies.clear()
                _buy(self._fleet, "startup", email, client, self.failures)
                self.bought.append(email)
                self.stopping.wait(0.3)


def test_a_rolling_restart_under_load_loses_nothing(fleet: Fleet, ledger: str) -> None:
    before = fleet.store.town.count_licences()
    customers = [Customers(fleet, number) for number in range(3)]
    for one in customers:
        one.start()
    eventually(lambda: any(one.bought for one in customers), 60)
    for host in fleet.hosts:
        fleet.replace(host)
    assert [told for one in customers for told in one.failures] == [], "nobody noticed"
    os.kill(max(fleet.hosts[0].pids()), signal.SIGKILL)
    time.sleep(0.5)
    eventually(lambda: sum(len(one.bought) for one in customers) > 3)
    for one in customers:
        one.stopping.set()
        one.join()
    emails = [email for one in customers for email in one.bought]
    assert len(emails) > 3
    if not _becomes_done(fleet, ledger, 5):
        # What the one that was killed had in hand waits for two minutes; nobody else is at work.
        asyncio.run(_pass_two_minutes(ledger))
        assert _becomes_done(fleet, ledger, 90)
    assert fleet.store.town.count_licences() - before == len(emails)
    mails = {email: fleet.store.mails(email) for email in emails}
    for sent in mails.values():
        assert "licence" in sent[0]["text"].lower()
        assert len({one["headers"]["Message-ID"] for one in sent}) == 1
    # One was perhaps handed over just when its worker was killed, before that was noted.
    assert sorted(len(sent) for sent in mails.values()) in (
        [1] * len(emails),
        [1] * (len(emails) - 1) + [2],
    )


def _becomes_done(fleet: Fleet, ledger: str, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if asyncio.run(_all_done(fleet, ledger)):
            return True
        time.sleep(0.3)
    return False


async def _pass_two_minutes(url: str) -> None:
    """For leases alone: the clocks of the hosts are real."""
    async with open_on_server(url) as database:
        await database.batch(
            [
                Statement("UPDATE customers SET lease_until = lease_until - 120000000"),
                Statement("UPDATE outbox SET again = again - 120000000 WHERE state = 'waiting'"),
            ]
        )


async def _all_done(fleet: Fleet, url: str) -> bool:
    """Every event that Stripe has for us was heard and settled, and no mail waits."""
    async with open_on_server(url) as database:
        (rows,) = await database.batch([Statement("SELECT id, state FROM events")])
        stock = await SqlLedger(database).take_stock()
    states: dict[str, str] = dict(rows)
    listed = fleet.store.town.browser.get("/_sim/deliveries").json()
    waits = any(one["state"] in ("waiting", "sending") for one in _deliveries(listed))
    failed = [one for one in _deliveries(listed) if one["state"] == "failed"]
    assert not failed
    heard = {one["event"] for one in _deliveries(listed)}
    return (
        not waits
        and heard <= set(states)
        and not set(states.values()) & {"pending", "parked"}
        and stock.messages_waiting == stock.messages_parked == 0
    )


def _deliveries(listed: object) -> list[dict[str, str]]:
    assert isinstance(listed, dict)
    return list(listed["deliveries"])


def test_connections_are_four_for_each_worker(fleet: Fleet, ledger: str) -> None:
    sql = "SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = 'shimmy-store'"

    async def count() -> int:
        async with open_on_server(ledger) as database:
            (rows,) = await database.batch([Statement(sql)])
            return int(rows[0][0])

    # One was killed just now: another is begun, and the server notices a moment later.
    workers = 2 * len(fleet.hosts)
    eventually(lambda: sum(len(host.pids()) for host in fleet.hosts) == workers)
    eventually(lambda: workers <= asyncio.run(count()) - 1 <= 4 * workers)


def test_workers_end_with_whoever_started_them(fleet: Fleet) -> None:
    """Killed without a word, a supervisor leaves no worker behind that would keep the address."""
    host = fleet.hosts.pop()
    fleet.balancer.ports.remove(host.port)
    workers = host.pids()
    assert host.process is not None and len(workers) == 2
    host.process.kill()
    host.process.wait()
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def test_a_host_that_stops_lets_nobody_in_and_finishes_what_it_has(fleet: Fleet) -> None:
    host = fleet.hosts[0]
    assert host.process is not None
    body = b"plan=none"
    with socket.create_connection(("127.0.0.1", host.port), timeout=20) as slow:
        slow.sendall(
            b"POST /create-checkout-session HTTP/1.1\r\nHost: store\r\nAccept: application/json\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n"
            b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        assert slow.recv(65536).startswith(b"HTTP/1.1 100 "), "a worker has it"
        host.process.send_signal(signal.SIGTERM)
        eventually(lambda: not _lets_in(host.port), 60)
        assert host.process.poll() is None
        slow.sendall(body)
        answer = slow.recv(65536)
    assert answer.startswith(b"HTTP/1.1 4"), answer
    assert host.process.wait(60) == 0


def _lets_in(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("given", ["0", "65", "-1", "two", ""])
def test_workers_are_a_small_number(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["serve", "--workers", given])
    assert refused.value.code == 2
    assert "1 to 64" in capsys.readouterr().err


def _migrate(url: str, gate: object, told: object) -> None:
    async def run() -> int:
        database = await PostgresDatabase.open(url)
        gate.wait()  # type: ignore[attr-defined]
        taken = await migrate_ledger(database)
        await database.close()
        return taken

    told.put(asyncio.run(run()))  # type: ignore[attr-defined]


def test_the_tables_are_made_once_by_processes_that_start_together(
    postgres: PostgresServer,
) -> None:
    url = postgres.create_database()
    forked = multiprocessing.get_context("fork")
    gate, told = forked.Barrier(PROGRAMS), forked.Queue()
    started = [forked.Process(target=_migrate, args=(url, gate, told)) for _ in range(PROGRAMS)]
    for one in started:
        one.start()
    taken = [told.get(timeout=60) for _ in started]
    for one in started:
        one.join()
    assert [one.exitcode for one in started] == [0] * PROGRAMS
    assert sum(taken) == len(MIGRATIONS)


def test_whoever_makes_tables_waits_for_whoever_is_just_making_them(
    postgres: PostgresServer,
) -> None:
    url = postgres.create_database()
    lock = _ONE_AT_A_TIME["postgresql"][0].sql

    async def run() -> None:
        with psycopg.connect(url) as other:
            other.execute(lock.encode())
            database = await PostgresDatabase.open(url)
            waiting = asyncio.create_task(migrate_ledger(database))
            await asyncio.sleep(0.3)
            assert not waiting.done()
            other.rollback()
            assert await waiting == len(MIGRATIONS)
            await database.close()

    asyncio.run(run())
