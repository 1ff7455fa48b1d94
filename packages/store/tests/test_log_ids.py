"""Log lines tell which request and which event they are about, wherever they are written."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest
import stripe
from anyio.to_thread import run_sync
from ledger_places import MINUTE, NOW, event, in_memory
from store_server import Store, eventually, open_store
from visiting import Door, at_door, program

from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.adapters.structlog_ledger import LoggedLedger
from shimmy_store.errors import LedgerError
from shimmy_store.ports.database import Row, Statement
from shimmy_store.server.logs import JsonFormatter, log_context, logger_of

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
EVENT = "evt_of_these_tests"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(tmp_path_factory.mktemp("store")) as opened:
        opened.visitor().open("/cancel")  # The ledger's tables come with the first request.
        yield opened


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, "shimmy_store"):
        yield caplog


def lines(heard: pytest.LogCaptureFixture, logger: str = "shimmy_store") -> list[dict[str, Any]]:
    """What the store wrote, as it stands in its log."""
    ours = [one for one in heard.records if one.name.startswith(logger)]
    return [json.loads(JsonFormatter().format(one)) for one in ours]


def named(told: Sequence[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [one for one in told if one["event"] == event]


def webhook(**changes: Any) -> bytes:
    written = {
        "id": EVENT,
        "type": "customer.updated",
        "created": 1_790_000_000,
        "livemode": False,
        "data": {"object": {"object": "customer", "id": "cus_of_these_tests"}},
        **changes,
    }
    return json.dumps(written).encode()


async def deliver(door: Door, store: Store, body: bytes, secret: str = "") -> httpx.Response:
    secret = secret or store.settings.webhook_secrets[0]
    at = int(store.town.now().timestamp())
    header = stripe.WebhookSignature.generate_signature_header(body.decode(), secret, at)
    async with door.visitor(**{"Stripe-Signature": header}) as visitor:
        return await visitor.post("/stripe-webhook", content=body)


def test_a_request_has_one_id_in_its_answer_and_in_every_line(
    store: Store, heard: pytest.LogCaptureFixture
) -> None:
    async def act(door: Door) -> dict[str, str]:
        door.app.state.shop = replace(door.app.state.shop, holdings=None)
        async with door.visitor() as visitor:
            found = {}
            for given in ("abc-123_X", "", "x" * 37, "cus_NffrFeUfNV2Hib", "a@b.example"):
                answer = await visitor.post(
                    "/view-license", json={"key": "x"}, headers={"X-Request-Id": given}
                )
                assert answer.status_code == 500
                assert len(answer.headers.get_list("x-request-id")) == 1
                found[given] = answer.headers["x-request-id"]
            page = await visitor.post(
                "/view-license", json={"key": "x"}, headers={"Accept": "text/html"}
            )
            assert f"tell us this: {page.headers['x-request-id']}" in page.text
            found["page"] = page.headers["x-request-id"]
            return found

    found = at_door(store, act)
    assert found["abc-123_X"] == "abc-123_X"
    assert all(len(one) == 32 for given, one in found.items() if given != "abc-123_X")
    told = lines(heard)
    assert [one["request_id"] for one in named(told, "crash")] == list(found.values())
    # The other store's line about an earlier request may come as late as this.
    failed = [one for one in named(told, "request") if one["status"] == 500]
    assert [one["request_id"] for one in failed] == list(found.values())
    assert len(set(found.values())) == len(found)


def test_a_delivered_webhook_and_its_settling_in_another_worker_tell_the_events_id(
    store: Store, heard: pytest.LogCaptureFixture
) -> None:
    store.buy("developer", "ids@example.com")
    store.settle()
    kept = {one["event_id"]: one for one in named(lines(heard), "event-kept")}
    assert {"checkout.session.completed", "invoice.paid"} <= {one["type"] for one in kept.values()}
    due = {name for name, one in kept.items() if one["state"] == "pending"}
    # A request's own line is written after its answer, and an event may be settled before that.
    brought = {(name, one["request_id"]) for name, one in kept.items() if "request_id" in one}
    assert brought

    def all_told() -> bool:
        told = lines(heard)
        settled = {one["event_id"] for one in named(told, "event-settled")}
        requests = {(one.get("event_id"), one["request_id"]) for one in named(told, "request")}
        return due <= settled and brought <= requests

    eventually(all_told, 20)


def test_what_fails_tells_the_events_id(store: Store, heard: pytest.LogCaptureFixture) -> None:
    """Stripe knows no such customer, so that looking at it fails."""

    async def act(door: Door) -> None:
        assert (await deliver(door, store, webhook())).status_code == 200
        door.app.state.workroom.start()
        for _ in range(1200):
            if named(lines(heard), "event-parked") or named(lines(heard), "event-postponed"):
                return
            await asyncio.sleep(0.05)

    at_door(store, act)
    told = lines(heard)
    failed = [one for one in told if one["event"] in ("event-parked", "event-postponed")]
    assert {one["event_id"] for one in failed} == {EVENT}
    assert failed[0]["code"].startswith("payments-")
    assert "cus_" not in json.dumps(told)


def test_a_ledger_that_cannot_keep_an_event_is_told_with_its_id(
    store: Store, heard: pytest.LogCaptureFixture
) -> None:
    class Broken:
        dialect = "sqlite"

        async def batch(self, _statements: Sequence[Statement]) -> Sequence[Sequence[Row]]:
            raise LedgerError("ledger-unusable", "", retryable=True)

    async def act(door: Door) -> None:
        ledger: Any = LoggedLedger(Broken())  # type: ignore[arg-type]
        door.app.state.shop = replace(door.app.state.shop, ledger=ledger)
        assert (await deliver(door, store, webhook())).status_code == 503

    at_door(store, act)
    (error,) = named(lines(heard), "error")
    (request,) = [one for one in named(lines(heard), "request") if one["status"] == 503]
    assert (error["event_id"], error["code"]) == (EVENT, "ledger-unusable")
    assert (error["request_id"], request["event_id"]) == (request["request_id"], EVENT)


def test_an_id_that_a_stranger_claims_is_told_nowhere(
    store: Store, heard: pytest.LogCaptureFixture
) -> None:
    async def act(door: Door) -> None:
        wrong_mode = await deliver(door, store, webhook(livemode=True))
        forged = await deliver(door, store, webhook(), "whsec_of_somebody_else")
        assert (wrong_mode.status_code, forged.status_code) == (400, 400)
        assert (await deliver(door, store, webhook(id="cus_for_an_event"))).status_code == 200

    at_door(store, act)
    # What a purchase of before still brings has ids of the simulator's.
    told = [one.get("event_id") for one in named(lines(heard), "request")]
    assert [one for one in told if one in (EVENT, None)] == [EVENT, None, None]
    assert "cus_" not in json.dumps(lines(heard))


def test_our_own_events_are_told_without_their_customers(heard: pytest.LogCaptureFixture) -> None:
    async def story(plain: SqlLedger) -> None:
        ledger = LoggedLedger(plain._database)
        await ledger.add_event(event("look cus_1 17"), "pending")
        await ledger.add_event(event("evt_1234567"), "pending")
        await ledger.postpone_event("look cus_1 17", "payments-failing", NOW + MINUTE)
        lease = await ledger.lease_customer("cus_1", "us", NOW, NOW + MINUTE)
        assert lease is not None
        assert sorted(lease.events) == ["evt_1234567", "look cus_1 17"]
        assert await ledger.settle_customer(lease, lease.record, (), NOW)
        assert not await ledger.settle_customer(lease, lease.record, (), NOW)

    in_memory().tell(story)
    told = lines(heard)
    assert "cus_" not in json.dumps(told)
    # What Stripe tells the other store has ids of the simulator's.
    ours = [one for one in told if one.get("event_id") in (None, "evt_1234567")]
    assert [(one["event"], one.get("event_id")) for one in ours][-2:] == [
        ("event-postponed", None),
        ("event-settled", "evt_1234567"),
    ]


def test_a_requests_id_goes_along_to_threads_and_tasks_and_ends_with_it(
    heard: pytest.LogCaptureFixture,
) -> None:
    logger = logger_of("shimmy_store.tests")

    async def work() -> None:
        with log_context(request_id="outer"):
            with log_context(request_id="first"):
                await run_sync(logger.info, "on-a-thread")
                await asyncio.create_task(_tell(logger))
            logger.info("after")
        logger.info("outside")

    async def _tell(logger: Any) -> None:
        logger.info("in-a-task")

    asyncio.run(work())
    assert [(one["event"], one.get("request_id")) for one in lines(heard, logger.name)] == [
        ("on-a-thread", "first"),
        ("in-a-task", "first"),
        ("after", "outer"),
        ("outside", None),
    ]


def test_lines_of_others_pass_the_same_rules(heard: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("shimmy_store.somebody_elses")
    with log_context(request_id="first"):
        logger.warning("POST https://%s/v1 for %s", "api.example", "a@b.example")
        logger.warning("odd", extra={"fields": {"body": b"secret", "count": 2, "request_id": "é"}})
        first, second = lines(heard, logger.name)
    assert first["event"] == "POST [hidden] for [hidden]"
    assert first["request_id"] == "first"
    assert (second["body"], second["count"], second["request_id"]) == ("bytes", 2, "[hidden]")


def test_programs_are_told_in_the_header_and_bodies_stay_as_they_were(store: Store) -> None:
    with program(store) as client:
        answer = client.get("/nowhere", headers={"X-Request-Id": "mine"})
    assert answer.headers["x-request-id"] == "mine"
    assert set(answer.json()) == {"type", "title", "status", "detail", "code", "hint"}
