"""Stripe's events over HTTP: only what Stripe signed, lately, for this store's mode; each once."""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe
from store_server import Store, key_on, open_store
from visiting import Door, at_door, program

from shimmy_store.domain.fulfilment import Alarm

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

OLD, NEW = "whsec_old_of_tests", "whsec_new_of_tests"
PATH = "/stripe-webhook"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(tmp_path_factory.mktemp("store")) as opened:
        opened.visitor().open("/cancel")  # The ledger's tables come with the first request.
        yield opened


def event(store: Store, number: int | str, **changes: Any) -> bytes:
    """An event as Stripe writes it, of a type that nobody here knows."""
    written = {
        "id": f"evt_of_tests_{number}",
        "object": "event",
        "type": "payout.created",
        "created": int(store.town.now().timestamp()),
        "livemode": False,
        "data": {"object": {"object": "payout", "id": "po_1"}},
        **changes,
    }
    return json.dumps(written).encode()


def signed(store: Store, body: bytes, age: float = 0, secret: str = "") -> Mapping[str, str]:
    """The header that Stripe's own client writes."""
    at = int(store.town.now().timestamp() - age)
    written = stripe.WebhookSignature.generate_signature_header(
        body.decode(), secret or store.settings.webhook_secrets[0], at
    )
    return {"Stripe-Signature": str(written), "Content-Type": "application/json"}


def deliver(store: Store, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
    with program(store) as client:
        return client.post(PATH, content=body, headers=headers)


def counted(store: Store, outcome: str) -> float:
    with program(store) as client:
        for line in client.get("/metrics").text.splitlines():
            if line.startswith(f'shimmy_store_webhooks_total{{outcome="{outcome}"}}'):
                return float(line.rpartition(" ")[2])
    return 0


def events_kept(store: Store) -> int:
    return sum(store.town.ask("take_stock").events.values())


def assert_refused(answer: httpx.Response, reason: str) -> None:
    assert answer.status_code == 400
    told = answer.json()
    assert (told["code"], told["detail"]) == ("event-refused", f"The event is refused: {reason}.")
    assert "whsec" not in answer.text


def test_what_stripe_did_not_sign_is_not_kept(store: Store) -> None:
    body, before = event(store, "forged"), events_kept(store)
    right = signed(store, body)["Stripe-Signature"]
    stamp, _, signature = right.partition(",")
    wrong = {
        "wrong-signature": [
            signed(store, body, secret="whsec_of_somebody_else")["Stripe-Signature"],
            signed(store, body + b" ")["Stripe-Signature"],
            f"{stamp},v1={'0' * 64}",
            f"t={int(stamp[2:]) + 1},{signature}",
        ],
        "malformed": ["", "nonsense", stamp, signature, right.replace("v1=", "v0="), right.upper()],
    }
    for reason, headers in wrong.items():
        for header in headers:
            assert_refused(deliver(store, body, {"Stripe-Signature": header}), reason)
    assert_refused(deliver(store, body, {}), "malformed")
    spaced = json.dumps(json.loads(body), indent=1).encode()
    assert_refused(deliver(store, spaced, {"Stripe-Signature": right}), "wrong-signature")
    assert events_kept(store) == before
    assert store.town.ask("open_alarms") == [], "strangers raise no alarms"


@pytest.mark.parametrize(
    ("age", "reason"),
    [
        (301, "too-old"),
        (86400 * 365, "too-old"),
        (-301, "from-the-future"),
        (-86400 * 3650, "from-the-future"),
    ],
)
def test_a_delivery_that_was_kept_or_antedated_is_refused(
    store: Store, age: float, reason: str
) -> None:
    body, before = event(store, f"aged {age}"), events_kept(store)
    assert_refused(deliver(store, body, signed(store, body, age)), reason)
    assert events_kept(store) == before
    assert counted(store, reason) >= 1


def test_five_minutes_are_forgiven(store: Store) -> None:
    for age in (299, -299):
        body = event(store, f"forgiven {age}")
        assert deliver(store, body, signed(store, body, age)).status_code == 200


def test_a_live_event_is_refused_by_a_test_store_and_somebody_is_told(store: Store) -> None:
    body, before = event(store, "live", livemode=True), events_kept(store)
    assert_refused(deliver(store, body, signed(store, body)), "wrong-mode")
    assert_refused(deliver(store, body, signed(store, body)), "wrong-mode")
    alarms = store.town.ask("open_alarms")
    assert alarms.count(Alarm("wrong-mode", "payout.created")) == 1
    assert events_kept(store) == before


def test_a_test_event_is_refused_by_a_live_store(store: Store, tmp_path: Path) -> None:
    body, ledger = event(store, "test"), tmp_path / "live.sqlite"

    async def act(door: Door) -> tuple[httpx.Response, httpx.Response]:
        async with door.visitor() as stripe_itself:
            test = await stripe_itself.post(PATH, content=body, headers=signed(store, body))
            live = event(store, "live after all", livemode=True)
            headers = signed(store, live)
            return test, await stripe_itself.post(PATH, content=live, headers=headers)

    test, live = at_door(store, act, mode="live", ledger=f"sqlite:///{ledger}")
    assert_refused(test, "wrong-mode")
    assert live.status_code == 200
    alarms = replace(store.town, ledger=ledger).ask("open_alarms")
    assert alarms == [Alarm("wrong-mode", "payout.created")]


@pytest.mark.parametrize(
    "body",
    [
        *(b"{}", b"[]", b"null", b"1", b'{"id": "evt_1"}', b"\x80", b"", b'{"id":"","type":"x"}'),
        b"[" * 100_000,
        b'{"a":' * 100_000,
        *(
            b'{"id":"evt_%s","type":"x","created":1,"livemode":false,"data":{"object":{}}}' % odd
            for odd in (b"\\ud800", b"\\u0000")
        ),
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_signed_and_no_event_is_refused(store: Store, body: bytes) -> None:
    at = int(store.town.now().timestamp())
    secret = store.settings.webhook_secrets[0].encode()
    signature = hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    answer = deliver(store, body, {"Stripe-Signature": f"t={at},v1={signature}"})
    assert_refused(answer, "no-event")


def test_an_unknown_type_is_taken_and_counted(store: Store) -> None:
    body, before = event(store, "unknown"), counted(store, "unknown-type")
    answer = deliver(store, body, signed(store, body))
    assert (answer.status_code, answer.json()) == (200, {"received": "unknown-type"})
    assert counted(store, "unknown-type") == before + 1
    again = deliver(store, body, signed(store, body))
    assert (again.status_code, again.json()) == (200, {"received": "heard-before"})
    assert store.town.ask("take_stock").events["unknown"] >= 1


def test_eight_deliveries_at_once_are_one_event(store: Store) -> None:
    body, before = event(store, "at once"), events_kept(store)
    headers = signed(store, body)
    with ThreadPoolExecutor(8) as pool:
        heard = [pool.submit(deliver, store, body, headers) for _ in range(8)]
    counts = Counter(one.result().json()["received"] for one in heard)
    assert counts == {"unknown-type": 1, "heard-before": 7}
    assert events_kept(store) == before + 1


def test_a_long_event_is_kept(store: Store) -> None:
    most = 2 * 1024 * 1024
    shell = event(store, "long", padding="")
    body = event(store, "long", padding="x" * (most - len(shell)))
    assert len(body) == most
    assert deliver(store, body, signed(store, body)).status_code == 200
    longer = body + b" "
    assert deliver(store, longer, signed(store, longer)).status_code == 413


def test_secrets_overlap_while_they_are_changed(store: Store) -> None:
    async def act(door: Door) -> list[int]:
        found = []
        async with door.visitor() as stripe_itself:
            for secret in (OLD, NEW, "whsec_of_somebody_else"):
                body = event(store, f"by {secret}")
                headers = signed(store, body, secret=secret)
                answer = await stripe_itself.post(PATH, content=body, headers=headers)
                found.append(answer.status_code)
            body = event(store, "by both")
            both = [signed(store, body, secret=one)["Stripe-Signature"] for one in (NEW, OLD)]
            header = f"{both[0]},{both[1].partition(',')[2]}"
            headers = {"Stripe-Signature": header}
            answer = await stripe_itself.post(PATH, content=body, headers=headers)
            found.append(answer.status_code)
        return found

    assert at_door(store, act, webhook_secrets=(NEW, OLD)) == [200, 200, 400, 200]
    assert at_door(store, act, webhook_secrets=(NEW,)) == [400, 200, 400, 200]


@contextmanager
def broken_ledger(store: Store) -> Iterator[None]:
    """The table of events is not there for a while."""

    def rename(before: str, after: str) -> None:
        with closing(sqlite3.connect(store.town.ledger, timeout=10)) as file:
            file.execute(f"ALTER TABLE {before} RENAME TO {after}")

    rename("events", "events_elsewhere")
    try:
        yield
    finally:
        rename("events_elsewhere", "events")


def test_an_event_that_cannot_be_kept_is_not_acknowledged(store: Store) -> None:
    body = event(store, "lost and found")
    with broken_ledger(store):
        answer = deliver(store, body, signed(store, body))
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["code"] == "ledger-unusable"
    assert "events" not in answer.text, "what the database said is not repeated"
    again = deliver(store, body, signed(store, body))
    assert again.json() == {"received": "unknown-type"}, "Stripe tries again, and it is kept"


def test_an_event_is_believed_in_nothing_but_whom_to_look_at(store: Store) -> None:
    """Even a signed event gives nobody a licence: Stripe is asked what is so."""
    customer = store.town.customer("pretender@example.com")
    paid = {"object": "checkout.session", "customer": customer, "payment_status": "paid"}
    before = store.town.count_licences()
    body = event(
        store,
        "pretended",
        type="checkout.session.completed",
        data={"object": {**paid, "subscription": "sub_1", "metadata": {"plan": "lifetime"}}},
    )
    assert deliver(store, body, signed(store, body)).json() == {"received": "new"}
    key_on(store.buy("developer", "honest@example.com").text)
    assert store.town.count_licences() == before + 1
    assert store.mails("pretender@example.com") == []
