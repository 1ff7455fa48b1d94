"""What becomes of a webhook: kept once, if it is Stripe's and says something."""

from __future__ import annotations

import json
from typing import Any

import pytest
import stripe
from ledger_places import NOW, due, in_memory

from shimmy_store.adapters.contract_files import read_webhook_events
from shimmy_store.adapters.d1_database import MOST_VALUE_BYTES
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.domain.fulfilment import Alarm
from shimmy_store.domain.webhook_event import parse_handled
from shimmy_store.errors import CatalogError
from shimmy_store.ports.ledger import EventState, HeardEvent
from shimmy_store.use_cases.receive_event import (
    MOST_KEPT_BYTES,
    Endpoint,
    Rejected,
    receive_event,
)

HANDLED = parse_handled(read_webhook_events())
LIVE = Endpoint(["whsec_a"], livemode=True, handled=HANDLED)
TEST = Endpoint(["whsec_a"], livemode=False, handled=HANDLED)


def body(**changes: Any) -> bytes:
    shown = {"object": "invoice", "id": "in_1", "customer": "cus_1"}
    basis = {
        "id": "evt_1",
        "type": "invoice.paid",
        "created": 1_764_000_000,
        "livemode": False,
        "data": {"object": shown},
    }
    return json.dumps({**basis, **changes}).encode()


def signed(data: bytes) -> str:
    at = int(NOW.timestamp())
    header = stripe.WebhookSignature.generate_signature_header(data.decode(), "whsec_a", at)
    return str(header)


@pytest.mark.parametrize(
    ("data", "endpoint", "answer"),
    [
        (body(), TEST, "new"),
        (body(type="product.created"), TEST, "unknown-type"),
        (body(), LIVE, Rejected("wrong-mode")),
        (b"[]", TEST, Rejected("no-event")),
        (b"{}", TEST, Rejected("no-event")),
        (body(data={"object": None}), TEST, Rejected("no-event")),
        (body(livemode="false"), TEST, Rejected("no-event")),
        (body(created=1e300), TEST, Rejected("no-event")),
    ],
)
def test_what_is_received(data: bytes, endpoint: Endpoint, answer: object) -> None:
    async def story(ledger: SqlLedger) -> None:
        assert await receive_event(data, signed(data), endpoint, ledger, NOW) == answer
        if not isinstance(answer, Rejected):
            again = await receive_event(data, signed(data), endpoint, ledger, NOW)
            assert again == "heard-before"
        heard = await ledger.due_events(NOW, 10)
        assert [one.customer for one in heard] == (["cus_1"] if answer == "new" else [])
        alarms = [Alarm("wrong-mode", "invoice.paid")] if answer == Rejected("wrong-mode") else []
        assert await ledger.open_alarms() == alarms

    in_memory().tell(story)


def test_an_endpoint_of_the_other_mode_is_one_alarm_however_much_it_sends() -> None:
    async def story(ledger: SqlLedger) -> None:
        for number in range(3):
            data = body(id=f"evt_{number}")
            await receive_event(data, signed(data), LIVE, ledger, NOW)
        assert len(await ledger.open_alarms()) == 1

    in_memory().tell(story)


def test_a_dispute_names_its_payment() -> None:
    shown = {"object": "dispute", "id": "dp_1", "payment_intent": "pi_1", "charge": "ch_1"}
    data = body(type="charge.dispute.created", data={"object": shown})

    async def story(ledger: SqlLedger) -> None:
        assert await receive_event(data, signed(data), TEST, ledger, NOW) == "new"
        (heard,) = await ledger.due_events(NOW, 10)
        assert (heard.customer, heard.payment) == ("", "pi_1")

    in_memory().tell(story)


def test_a_forged_event_is_not_kept() -> None:
    data = body()
    forged = signed(body(id="evt_2"))

    async def story(ledger: SqlLedger) -> None:
        answer = await receive_event(data, forged, TEST, ledger, NOW)
        assert answer == Rejected("wrong-signature")
        assert await due(ledger) == []

    in_memory().tell(story)


def test_the_contract_names_the_version_that_this_client_speaks() -> None:
    assert read_webhook_events()["api_version"] == stripe.api_version


@pytest.mark.parametrize("data", [None, [], {}, {"events": []}, {"events": [1]}])
def test_a_contract_without_events_is_refused(data: Any) -> None:
    with pytest.raises(CatalogError) as refused:
        parse_handled(data)
    assert refused.value.code == "events-invalid"


def test_an_event_that_is_too_long_to_be_kept_whole_is_heard_all_the_same() -> None:
    kept: list[str] = []

    class Ledger(SqlLedger):
        async def add_event(self, event: HeardEvent, state: EventState) -> bool:
            kept.append(event.body)
            return await super().add_event(event, state)

    async def story(ledger: SqlLedger) -> None:
        ledger = Ledger(ledger._database)
        for name, length in (("short", 900_000), ("long", 2_090_000)):
            data = body(id=name, pad="x" * length)
            assert len(data) < 2 * 1024 * 1024, "which is what the store lets in"
            assert await receive_event(data, signed(data), TEST, ledger, NOW) == "new"
        assert await due(ledger) == ["short", "long"]

    in_memory().tell(story)
    assert [len(one) > 900_000 for one in kept] == [True, False]
    # A row on D1 is no longer than a text there, its other columns included.
    assert 2 * MOST_KEPT_BYTES <= MOST_VALUE_BYTES
