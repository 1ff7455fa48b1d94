"""Is the store well? Who asks is told what fails, in codes; figures are for those who may."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from store_server import Store, eventually, open_store
from town import START
from visiting import Door, at_door, program

from shimmy_sandbox.simulation.faults import Fault
from shimmy_store import __version__
from shimmy_store.adapters.ledger_rows import stamp
from shimmy_store.ports.ledger import HeardEvent
from shimmy_store.server.health import HealthDesk

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

TOKEN = "a-token-of-tests-for-figures"
OUTAGE = Fault("status", path="/v1/", times=-1, status=503)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(tmp_path_factory.mktemp("store")) as opened:
        opened.buy("developer", "healthy@example.com")
        opened.settle()
        yield opened


@pytest.fixture(autouse=True)
def _nothing_is_remembered(store: Store) -> Iterator[None]:
    yield
    store.town.payments.controls.faults.clear()
    store.town.keygen.controls.faults.clear()
    store.town.pass_time(seconds=6)


def health(store: Store) -> httpx.Response:
    with program(store) as client:
        return client.get("/health")


def test_all_is_well(store: Store) -> None:
    answer = health(store)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "status": "ok",
        "version": __version__,
        "mode": "test",
        "checks": dict.fromkeys(("ledger", "stripe", "keygen", "events"), "ok"),
        "oldest_event_seconds": None,
        "events_parked": 0,
        "messages_waiting": 0,
        "messages_parked": 0,
        "alarms": 0,
    }


@pytest.mark.parametrize(
    ("side", "name", "fault", "code"),
    [
        ("payments", "stripe", OUTAGE, "payments-unreachable"),
        ("payments", "stripe", Fault("no-reply", path="/v1/", times=-1), "payments-unreachable"),
        ("keygen", "keygen", OUTAGE, "licensing-failing"),
        ("keygen", "keygen", Fault("no-request", path="/v1/"), "licensing-unreachable"),
        ("keygen", "keygen", Fault("status", path="/v1/", status=403), "licensing-not-allowed"),
    ],
    ids=lambda one: str(getattr(one, "status", one)),
)
def test_what_fails_is_named(store: Store, side: str, name: str, fault: Fault, code: str) -> None:
    getattr(store.town, side).controls.faults.add(fault)
    answer = health(store)
    checks = answer.json()["checks"]
    assert answer.status_code == 503
    assert answer.json()["status"] == "failing"
    assert checks.pop(name) == code
    assert set(checks.values()) == {"ok"}
    for secret in (store.settings.stripe_key, store.settings.keygen_token, "fault on request"):
        assert secret not in answer.text


def test_a_ledger_that_fails_is_named(store: Store) -> None:
    def rename(before: str, after: str) -> None:
        with closing(sqlite3.connect(store.town.ledger, timeout=10)) as file:
            file.execute(f"ALTER TABLE {before} RENAME TO {after}")

    rename("alarms", "alarms_elsewhere")
    try:
        answer = health(store)
        with program(store) as client:
            figures = client.get("/metrics")
    finally:
        rename("alarms_elsewhere", "alarms")
    checks = answer.json()["checks"]
    assert (answer.status_code, checks["ledger"]) == (503, "ledger-unusable")
    assert checks["stripe"] == checks["keygen"] == "ok"
    assert "alarms_elsewhere" not in answer.text
    assert (figures.status_code, figures.json()["code"]) == (503, "ledger-unusable")


def test_a_ledger_that_can_only_be_read_is_not_well(store: Store) -> None:
    """Its disk is full: pages show, and no webhook can be kept."""
    refuse = "BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
    with closing(sqlite3.connect(store.town.ledger, timeout=10)) as file:
        for act in ("INSERT", "UPDATE"):
            file.execute(f"CREATE TRIGGER no_{act} BEFORE {act} ON settings {refuse}")
        try:
            answer = health(store)
            with program(store) as client:
                ready = client.get("/ready")
        finally:
            for act in ("INSERT", "UPDATE"):
                file.execute(f"DROP TRIGGER no_{act}")
    assert (answer.status_code, answer.json()["checks"]["ledger"]) == (503, "ledger-unusable")
    assert ready.status_code == 200


def test_an_event_that_waits_for_longer_than_ten_minutes_is_late(store: Store) -> None:
    now = store.town.now()
    heard = HeardEvent("evt_late", "invoice.paid", "cus_nobody", now, now, "{}")
    store.town.ask("add_event", heard, "parked")
    with closing(sqlite3.connect(store.town.ledger, timeout=10)) as file:
        assert health(store).json()["checks"]["events"] == "ok"
        store.town.pass_time(minutes=9, seconds=54)
        answer = health(store)
        assert answer.status_code == 200
        assert answer.json()["events_parked"] == 1
        assert answer.json()["oldest_event_seconds"] is None, "parked ones have their alarm"
        # As if it had failed often and waited for its next hour: nobody settles it meanwhile.
        turn = stamp(store.town.now() + timedelta(minutes=50))
        put_off = "UPDATE events SET state = 'pending', attempts = 99, again = ?"
        file.execute(f"{put_off} WHERE id = 'evt_late'", (turn,))
        file.commit()
        store.town.pass_time(seconds=6)
        assert health(store).status_code == 200
        store.town.pass_time(seconds=6)
        answer = health(store)
        assert (answer.status_code, answer.json()["checks"]["events"]) == (503, "late")
        assert answer.json()["oldest_event_seconds"] == 606
        file.execute("UPDATE events SET state = 'done' WHERE id = 'evt_late'")
        file.commit()
    store.town.pass_time(seconds=6)
    assert health(store).status_code == 200


def test_an_answer_is_good_for_five_seconds(store: Store) -> None:
    assert health(store).status_code == 200
    seen = store.town.keygen.controls.seen
    before = len(seen)
    store.town.keygen.controls.faults.add(OUTAGE)
    store.town.pass_time(seconds=4.9)
    for _ in range(20):
        assert health(store).status_code == 200
    assert len(seen) == before, "asking often does not ask Keygen often"
    store.town.pass_time(seconds=0.2)
    assert health(store).status_code == 503


def test_many_who_ask_a_store_in_trouble_wait_together_and_not_one_after_the_other() -> None:
    """Else a queue of them keeps every connection busy: Stripe's trouble would be ours."""

    asked, clock = [0], [START]

    async def answer_slowly() -> None:
        asked[0] += 1
        clock[0] += timedelta(seconds=6)

    async def write(_now: datetime) -> None:
        return

    slow = SimpleNamespace(take_stock=answer_slowly, reach=answer_slowly, prove_writable=write)
    shop: Any = SimpleNamespace(
        ledger=slow,
        holdings=slow,
        counter=SimpleNamespace(checkout=slow),
        settings=SimpleNamespace(mode="test"),
        now=lambda: clock[0],
    )

    async def ask() -> list[dict[str, Any]]:
        desk = HealthDesk(shop)
        return await asyncio.gather(*(desk.report() for _ in range(50)))

    reports = asyncio.run(ask())
    assert asked == [3]
    assert all(one is reports[0] for one in reports)


def test_trouble_is_logged_in_codes(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.town.keygen.controls.faults.add(OUTAGE)
    with caplog.at_level(logging.INFO, "shimmy_store.server.health"):
        health(store)
    (unwell,) = [one for one in caplog.records if one.message == "unwell"]
    assert unwell.__dict__["fields"]["keygen"] == "licensing-failing"


def figures_of(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """What the official client reads in it: values by name and labels."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        assert family.type in ("counter", "gauge", "histogram")
        for sample in family.samples:
            labels = tuple(sample.labels.values())
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def test_prometheus_reads_the_figures(store: Store) -> None:
    with program(store) as client:
        client.get("/nowhere")
        eventually(lambda: b"shimmy_store_mails_total" in client.get("/metrics").content)
        before = figures_of(client.get("/metrics").text)
        client.get("/cancel")
        answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    figures = figures_of(answer.text)
    assert figures["shimmy_store_requests_total"]["success", "200"] >= 1
    counts = [
        one["shimmy_store_requests_total"].get(("cancel", "200"), 0) for one in (before, figures)
    ]
    assert counts[1] - counts[0] == 1
    assert figures["shimmy_store_requests_total"]["none", "404"] >= 1
    assert figures["shimmy_store_mails_total"]["sent",] >= 1
    assert figures["shimmy_store_webhooks_total"]["new",] >= 1
    assert figures["shimmy_store_events"]["done",] >= 1
    assert figures["shimmy_store_oldest_event_seconds"][()] == 0
    assert figures["shimmy_store_alarms"][()] == 0
    for words in ("healthy@example.com", "cus_", "cs_", "sub_", "evt_"):
        assert words not in answer.text


def test_strangers_make_no_new_figures(store: Store) -> None:
    """Labels that a visitor can choose would fill the memory."""
    with program(store) as client:
        for number in range(3):
            client.get(f"/{number}")
            client.request(f"M{number}", "/pricing", headers={"Host": f"{number}.example"})
            client.get(f"/assets/{number}/{number}")
        before = figures_of(client.get("/metrics").text).keys()
        counted = [
            len(values)
            for name, values in figures_of(client.get("/metrics").text).items()
            if name == "shimmy_store_requests_total"
        ]
        for number in range(100, 150):
            client.get(f"/{number}")
            client.request(f"M{number}", "/pricing", headers={"Host": f"{number}.example"})
            client.get(f"/assets/{number}/{number}")
        after = figures_of(client.get("/metrics").text)
    assert after.keys() == before
    assert [len(after["shimmy_store_requests_total"])] == counted


def test_figures_are_for_whoever_has_the_token(store: Store) -> None:
    async def act(door: Door) -> None:
        for address in ("127.0.0.1", "203.0.113.7"):
            async with door.visitor(address) as visitor:
                for given in (
                    "",
                    "Bearer",
                    "Bearer ",
                    f"Bearer {TOKEN}x",
                    TOKEN,
                    f"bearer {TOKEN}",
                ):
                    answer = await visitor.get("/metrics", headers={"Authorization": given})
                    assert (answer.status_code, answer.json()["code"]) == (403, "metrics-refused")
                    assert TOKEN not in answer.text
                assert (await visitor.get(f"/metrics?token={TOKEN}")).status_code == 403
                right = {"Authorization": f"Bearer {TOKEN}"}
                assert (await visitor.get("/metrics", headers=right)).status_code == 200
                odd = [(b"Authorization", "Bearer é".encode())]
                assert (await visitor.get("/metrics", headers=odd)).status_code == 403

    at_door(store, act, metrics_tokens=("newer-" * 4, TOKEN))


def test_without_a_token_figures_are_for_this_machine_alone(store: Store) -> None:
    async def act(door: Door) -> dict[str, int]:
        found = {}
        for address in ("127.0.0.1", "::1", "203.0.113.7", "127.0.0.1.example", "10.0.0.1", ""):
            forwarded = {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"}
            async with door.visitor(address, **forwarded, Host="localhost") as visitor:
                found[address] = (await visitor.get("/metrics")).status_code
        return found

    statuses = at_door(store, act)
    assert {one for one, status in statuses.items() if status == 200} == {"127.0.0.1", "::1"}
    assert set(statuses.values()) == {200, 403}
