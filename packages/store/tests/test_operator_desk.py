"""What the operator's tools are answered by the store's real app, on the town."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from operating import BEARER, OLD_TOKEN, OPERATOR_TOKEN, operator, problem
from store_server import Store, eventually, key_on, open_store
from visiting import Door, at_door, licence_at_keygen

from shimmy_sandbox.simulation.faults import Fault
from shimmy_store import __version__
from shimmy_store.adapters.ledger_schema import MIGRATIONS
from shimmy_store.domain.fulfilment import Alarm

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

ADA = "ada@example.com"
POSTS = ("customers", "look", "export", "erase", "alarms/done", "mail-probe")
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


@pytest.fixture(scope="module")
def store(ledger_place: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    tokens = (OPERATOR_TOKEN, OLD_TOKEN)
    with open_store(tmp_path_factory.mktemp("store"), operator_tokens=tokens) as opened:
        opened.buy("startup", ADA)
        opened.settle()
        yield opened


@pytest.fixture
def desk(store: Store) -> Iterator[httpx.Client]:
    with operator(store) as client:
        yield client


def customer_of(desk: httpx.Client, email: str) -> dict[str, Any]:
    """The one customer with this address."""
    (found,) = desk.post("/customers", json={"email": email}).json()["customers"]
    return dict(found)


def test_figures_tell_of_the_purchase(store: Store, desk: httpx.Client) -> None:
    answer = desk.get("/figures")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    read = answer.json()
    assert (read["version"], read["mode"]) == (__version__, "test")
    assert read["schema"] == len(MIGRATIONS)
    now = datetime.fromisoformat(read["now"])
    assert (now - datetime.fromisoformat(read["since"])).total_seconds() == 24 * 3600
    assert datetime.fromisoformat(read["started"]) <= now
    assert all(re.fullmatch(TIME, read[one]) for one in ("now", "since", "started"))
    events = read["events"]
    assert set(events["by_state"]) == {"pending", "done", "unknown", "parked"}
    assert events["heard"] == sum(events["by_type"].values()) > 0
    assert "checkout.session.completed" in events["by_type"]
    assert events["delivery"]["count"] == events["heard"]
    assert 0 <= events["delivery"]["p50"] <= events["delivery"]["max"]
    assert events["settling"]["count"] == events["by_state"]["done"]
    assert events["oldest_pending_seconds"] is None
    mail = read["mail"]
    assert (mail["waiting"], mail["parked"], mail["oldest_waiting_seconds"]) == (0, 0, None)
    assert mail["sent"] == mail["sending"]["count"] == 1
    assert read["customers"] == {
        "count": 1,
        "with_licence": 1,
        "merged": 0,
        "by_plan": {"startup": 1},
    }
    assert read["alarms"] == []


def test_with_nothing_to_count_the_spreads_are_null(store: Store, tmp_path: Path) -> None:
    async def act(door: Door) -> httpx.Response:
        async with door.visitor(**BEARER) as visitor:
            return await visitor.get("/operator/figures?hours=744")

    read = at_door(store, act, ledger=f"sqlite:///{tmp_path / 'empty.sqlite'}").json()
    empty = {"count": 0, "p50": None, "p95": None, "p99": None, "max": None}
    assert (read["events"]["heard"], read["events"]["by_type"]) == (0, {})
    assert read["events"]["by_state"] == {"pending": 0, "done": 0, "unknown": 0, "parked": 0}
    assert [read["events"]["delivery"], read["events"]["settling"]] == [empty, empty]
    assert read["mail"]["sending"] == empty


@pytest.mark.parametrize(
    "query", ["hours=0", "hours=745", "hours=-1", "hours=1.5", "hours=", "hours=1&hours=2", "x=1"]
)
def test_windows_that_there_are_not_are_refused(desk: httpx.Client, query: str) -> None:
    problem(desk.get(f"/figures?{query}"), 400, "operator-request-malformed")


def test_a_customer_is_found_by_address_and_by_id(desk: httpx.Client) -> None:
    found = customer_of(desk, ADA.upper())
    assert found["email"] == ADA
    assert (found["plan"], found["changes"], found["merged_into"]) == ("startup", 0, None)
    assert found["origin"].startswith("sub_")
    assert (found["erased"], found["alarms"]) == (None, [])
    assert re.fullmatch(TIME, found["settled"])
    assert re.fullmatch(TIME, found["look_again"])
    event = found["events"][0]
    assert set(event) == {
        "id",
        "type",
        "state",
        "created",
        "received",
        "settled",
        "attempts",
        "error",
    }
    assert (event["state"], event["attempts"], event["error"]) == ("done", 0, None)
    (message,) = found["messages"]
    assert (message["kind"], message["state"]) == ("licence", "sent")
    assert set(message) == {"key", "kind", "state", "added", "sent", "attempts", "error"}
    same = desk.post("/customers", json={"customer": found["customer"]}).json()
    assert same == {"customers": [found]}


@pytest.mark.parametrize("whom", [{"email": "nobody@example.com"}, {"customer": "cus_nobody"}])
def test_who_is_unknown_is_an_empty_list(desk: httpx.Client, whom: dict[str, str]) -> None:
    assert desk.post("/customers", json=whom).json() == {"customers": []}


def test_looking_settles_now(desk: httpx.Client) -> None:
    customer = customer_of(desk, ADA)["customer"]
    assert desk.post("/look", json={"customer": customer}).json() == {
        "customer": customer,
        "outcome": "settled",
    }


def test_looking_while_stripe_is_away_says_so(store: Store, desk: httpx.Client) -> None:
    customer = customer_of(desk, ADA)["customer"]
    store.town.payments.controls.faults.add(Fault("status", path="/v1/", times=-1, status=503))
    try:
        read = problem(desk.post("/look", json={"customer": customer}), 503, "payments-unreachable")
        assert "Stripe" in read["detail"], "the operator reads what it is"
    finally:
        store.town.payments.controls.faults.clear()


def test_an_export_has_what_is_held(desk: httpx.Client) -> None:
    customer = customer_of(desk, ADA)["customer"]
    read = desk.post("/export", json={"customer": customer}).json()
    assert (read["customer"], set(read)) == (customer, {"customer", "made", "tables"})
    tables = read["tables"]
    assert set(tables) == {"customers", "events", "outbox", "links", "alarms"}
    (row,) = tables["customers"]
    assert (row["email"], row["plan"]) == (ADA, "startup")
    assert re.fullmatch(TIME, row["settled"])
    bodies = [one["body"] for one in tables["events"] if one["body"]]
    assert all(one["object"] == "event" for one in bodies)
    assert len(bodies) > 1
    problem(desk.post("/export", json={"customer": "cus_nobody"}), 404, "customer-unknown")


def test_alarms_are_listed_and_ticked_off(store: Store, desk: httpx.Client) -> None:
    store.town.ask("raise_alarms", [Alarm("merge-credit", "sub_9")], store.town.now())
    (alarm,) = desk.get("/alarms").json()["alarms"]
    assert (alarm["code"], alarm["subject"]) == ("merge-credit", "sub_9")
    assert desk.get("/figures").json()["alarms"] == [alarm]
    whom = {"code": "merge-credit", "subject": "sub_9"}
    assert [desk.post("/alarms/done", json=whom).json()["done"] for _ in range(2)] == [True, False]
    assert desk.get("/alarms").json() == {"alarms": []}


def test_a_test_mail_arrives(store: Store, desk: httpx.Client) -> None:
    read = desk.post("/mail-probe", json={"to": "me@example.com"}).json()
    assert (read["sent"], read["seconds"] > 0) == (True, True)
    (mail,) = store.mails("me@example.com")
    assert "test of the store's mail" in mail["text"]


def test_a_mailer_that_cannot_be_reached_is_a_bad_gateway(store: Store) -> None:
    async def act(door: Door) -> httpx.Response:
        async with door.visitor(**BEARER) as visitor:
            return await visitor.post("/operator/mail-probe", json={"to": "me@example.com"})

    answer = at_door(store, act, mail="smtp://127.0.0.1:9")
    read = problem(answer, 502, "mail-unreachable")
    assert "example.com" not in str(read)


def test_erasing_ends_the_licence_and_late_webhooks_bring_nothing_back(store: Store) -> None:
    email = "eve@example.com"
    shown = store.buy("developer", email)
    key = key_on(shown.text)
    store.settle()
    with operator(store) as desk:
        customer = customer_of(desk, email)["customer"]
        read = desk.post("/erase", json={"customer": customer}).json()
        assert set(read) == {"customer", "erased", "rows"}
        assert (read["rows"]["customers"], read["rows"]["outbox"]) == (1, 1)
        store.settle()
        assert licence_at_keygen(store, key)["attributes"]["suspended"]
        billed = desk.get("/alarms").json()["alarms"]
        assert [one["code"] for one in billed] == ["erased-still-billed"]
        mails = len(store.mails(email))
        # Stripe has the customer and goes on: a month passes, and the address changes.
        store.town.sdk.v1.customers.update(customer, {"name": "Eve Again"})
        store.town.pass_time(days=32)
        store.settle()
        eventually(lambda: desk.post("/look", json={"customer": customer}).json())
        (left,) = desk.post("/customers", json={"customer": customer}).json()["customers"]
        assert (left["email"], left["plan"], left["messages"]) == ("", None, [])
        assert re.fullmatch(TIME, left["erased"])
        assert any(one["type"] == "invoice.paid" for one in left["events"])
        exported = desk.post("/export", json={"customer": customer}).text
        assert email not in exported
        assert "Eve" not in exported
        assert licence_at_keygen(store, key)["attributes"]["suspended"]
        assert len(store.mails(email)) == mails
        again = desk.post("/erase", json={"customer": customer}).json()
        assert again["erased"] == read["erased"]
        desk.post("/alarms/done", json={key: billed[0][key] for key in ("code", "subject")})


def test_who_is_deleted_at_stripe_too_is_settled_for_good(store: Store) -> None:
    email = "del@example.com"
    key = key_on(store.buy("developer", email).text)
    store.settle()
    with operator(store) as desk:
        customer = customer_of(desk, email)["customer"]
        assert desk.post("/erase", json={"customer": customer}).status_code == 200
        store.town.sdk.v1.customers.delete(customer)
        store.settle()
        read = desk.post("/look", json={"customer": customer}).json()
        assert read["outcome"] == "settled"
        assert email not in desk.post("/export", json={"customer": customer}).text
    assert licence_at_keygen(store, key)["attributes"]["suspended"]


def test_who_is_merged_away_or_unknown_is_not_erased(store: Store, desk: httpx.Client) -> None:
    problem(desk.post("/erase", json={"customer": "cus_nobody"}), 404, "customer-unknown")
    with closing(sqlite3.connect(store.town.ledger, timeout=10)) as file, file:
        file.execute(
            "INSERT INTO customers (customer, merged_into) VALUES ('cus_lost', 'cus_kept')"
        )
    read = problem(desk.post("/erase", json={"customer": "cus_lost"}), 409, "customer-merged")
    assert "cus_kept" in read["detail"]


WRONG: tuple[tuple[str, Any], ...] = (
    ("customers", {}),
    ("customers", {"customer": "cus_1", "email": "a@x"}),
    ("customers", {"customer": "sub_1"}),
    ("customers", {"email": ""}),
    ("customers", {"email": "x" * 1001}),
    ("customers", {"email": "\ud800@x"}),
    ("look", {"customer": 1}),
    ("look", {"customer": "cus_1\n"}),
    ("look", {"customer": "cus_1", "more": "x"}),
    ("export", []),
    ("export", {}),
    ("erase", {"customer": ["cus_1"]}),
    ("erase", "cus_1"),
    ("alarms/done", {"code": "merge-credit"}),
    ("alarms/done", {"code": "a", "subject": "b", "c": "d"}),
    ("mail-probe", {"to": "nobody"}),
    ("mail-probe", {"to": "a@x\nBcc: b@x"}),
)


@pytest.mark.parametrize(("path", "content"), WRONG)
def test_what_is_malformed_is_told_without_its_value(
    desk: httpx.Client, path: str, content: Any
) -> None:
    answer = desk.post(f"/{path}", content=json.dumps(content))
    read = problem(answer, 400, "operator-request-malformed")
    assert "Bcc" not in str(read)
    assert "sub_1" not in str(read)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 9999])
@pytest.mark.parametrize("path", POSTS)
def test_what_is_no_json_is_refused(desk: httpx.Client, path: str, body: bytes) -> None:
    problem(desk.post(f"/{path}", content=body), 400, "operator-request-malformed")


def test_ids_in_a_query_are_refused_and_large_bodies_too(desk: httpx.Client) -> None:
    answer = desk.post("/look?customer=cus_1", json={"customer": "cus_1"})
    problem(answer, 400, "operator-request-malformed")
    problem(desk.post("/look", content=b" " * 70_000), 413, "body-too-large")
