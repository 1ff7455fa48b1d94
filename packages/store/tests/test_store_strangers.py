"""Strangers learn nothing, and somebody with one licence reaches no other."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from statistics import median
from typing import Any

import httpx
import pytest
from store_server import Store, Visitor, key_on
from visiting import (
    Door,
    activate,
    at_door,
    customer_on,
    form_token,
    licence_at_keygen,
    program,
    signed_in,
)

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

KNOWN, UNKNOWN = "known@example.com", "other@example.com"
PAIRS = 20


@pytest.fixture(scope="module")
def key(store: Store) -> str:
    return key_on(store.buy("developer", KNOWN).text)


@pytest.fixture(autouse=True)
def _a_new_period(store: Store, key: str) -> None:
    store.town.pass_time(minutes=10)


class Noted:
    """Passes everything on and remembers what was asked."""

    def __init__(self, port: Any, calls: list[str]) -> None:
        self._port, self._calls = port, calls

    def __getattr__(self, name: str) -> Any:
        self._calls.append(f"{type(self._port).__name__}.{name}")
        return getattr(self._port, name)


def note_calls(door: Door) -> list[str]:
    """From now on, every call to the ledger, Stripe's checkout or Keygen."""
    calls: list[str] = []
    shop = door.app.state.shop
    counter = replace(shop.counter, checkout=Noted(shop.counter.checkout, calls))
    door.app.state.shop = replace(
        shop,
        ledger=Noted(shop.ledger, calls),
        holdings=Noted(shop.holdings, calls),
        counter=counter,
    )
    return calls


def without(answer: httpx.Response, email: str) -> tuple[Any, ...]:
    """What of an answer could tell one address from another."""
    of_each = ("date", "x-request-id")
    headers = {name: value for name, value in answer.headers.items() if name not in of_each}
    return answer.status_code, answer.text.replace(email, "ADDRESS"), headers


def test_a_known_address_and_an_unknown_one_are_answered_alike(store: Store) -> None:
    visitor = store.visitor()
    token = form_token(visitor)
    for accept in ("text/html", "*/*"):
        answers = {
            email: visitor.client.post(
                "/view-license",
                data={"csrf": token, "email": email},
                headers={"Accept": accept},
            )
            for email in (KNOWN, UNKNOWN)
        }
        assert answers[KNOWN].status_code == 202
        known, unknown = (without(answers[one], one) for one in (KNOWN, UNKNOWN))
        assert known == unknown
    assert "sign-in?token=" in store.mail(KNOWN, "sign-in?token=")
    assert store.mails(UNKNOWN) == [], "nobody is mailed who bought nothing"


def test_a_known_address_and_an_unknown_one_are_the_same_work(store: Store) -> None:
    async def ask(door: Door) -> list[list[str]]:
        calls, seen = note_calls(door), []
        async with door.visitor() as visitor:
            for email in (KNOWN, UNKNOWN, KNOWN.upper(), "someone@elsewhere.example"):
                calls.clear()
                answer = await visitor.post("/view-license", json={"email": email})
                assert answer.status_code == 202
                seen.append(list(calls))
        return seen

    first, *others = at_door(store, ask)
    assert [one.rpartition(".")[2] for one in first] == ["count_try", "count_try", "add_message"]
    assert all(one == first for one in others)


def test_a_known_address_and_an_unknown_one_take_the_same_time(store: Store) -> None:
    """A guard against gross differences: one more question to Stripe or Keygen would show."""

    async def measure(door: Door) -> dict[str, list[float]]:
        taken: dict[str, list[float]] = {KNOWN: [], UNKNOWN: []}
        for number in range(PAIRS):
            if number % 3 == 0:
                store.town.pass_time(minutes=10)
            for email in (KNOWN, UNKNOWN) if number % 2 else (UNKNOWN, KNOWN):
                async with door.visitor(f"203.0.113.{number}") as visitor:
                    began = time.perf_counter()
                    answer = await visitor.post("/view-license", json={"email": email})
                    taken[email].append(time.perf_counter() - began)
                assert answer.status_code == 202
        return taken

    taken = at_door(store, measure)
    known, unknown = (median(taken[one]) for one in (KNOWN, UNKNOWN))
    assert known < 3 * unknown + 0.005
    assert unknown < 3 * known + 0.005


def test_a_wrong_key_is_unknown_whatever_is_wrong_with_it(store: Store, key: str) -> None:
    wrong = [
        "FDAAD9-B0D1C8-057518-513B96-DC24E6-V3",
        key[:-1],
        f"{key}0",
        key.lower(),
        "x",
        "../licenses",
        "%2e%2e/%00",
        "é",
        "a b",
        "'; DROP TABLE customers; --",
        "A" * 256,
        "A" * 50000,
        licence_at_keygen(store, key)["id"],
    ]
    told = [*wrong, "\x00", f"{key}\x00", f"{key}\n{key}", "\u202e"]
    visitor = store.visitor()
    token = form_token(visitor)
    forms, answers = set(), set()
    for number, one in enumerate(told):
        if number % 9 == 0:
            store.town.pass_time(minutes=10)
        with program(store) as client:
            answer = client.post("/view-license", json={"key": one})
            answers.add((answer.status_code, answer.text))
            assert "shimmy-session" not in answer.cookies
        form = visitor.client.post("/view-license", data={"csrf": token, "key": one})
        forms.add((form.status_code, form.text))
    assert len(answers) == len(forms) == 1
    assert {status for status, _ in answers | forms} == {404}


def test_a_key_survives_being_copied_carelessly(store: Store, key: str) -> None:
    for written in (f" {key}", f"{key}\r\n", f"\t{key} "):
        signed_in(store, written)


@pytest.fixture
def rival(store: Store) -> tuple[Visitor, str, str]:
    """Somebody else with a licence, the Stripe customer and the machine that are theirs."""
    key = key_on(store.buy("startup", "rival@example.com").text)
    visitor = signed_in(store, key)
    customer = customer_on(visitor.open("/view-license").text)
    return visitor, customer, activate(store, key, f"Rival's machine {time.monotonic_ns()}")


def test_somebody_elses_billing_is_not_opened(
    store: Store, key: str, rival: tuple[Visitor, str, str]
) -> None:
    visitor, (_, other, _) = signed_in(store, key), rival
    own = customer_on(visitor.open("/view-license").text)
    token = form_token(visitor)
    for asked in (other, f"{own},{other}", f"{other}\x00", "cus_nobody", "../customers", "*"):
        answer = visitor.client.post(
            "/create-portal-session", data={"csrf": token, "customer": asked}
        )
        assert answer.status_code == 403
        assert "not a licence of yours" in answer.text
        assert other not in answer.text
    twice = f"csrf={token}&customer={own}&customer={other}"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert visitor.client.post("/create-portal-session", content=twice, headers=form).is_error
    assert visitor.client.post("/create-portal-session", json={"customer": [other]}).is_error
    opened = visitor.client.post("/create-portal-session", data={"csrf": token, "customer": own})
    assert opened.status_code == 303
    assert opened.headers["location"].startswith(store.town.payments.url)


def test_somebody_elses_machine_is_not_freed(
    store: Store, key: str, rival: tuple[Visitor, str, str]
) -> None:
    owner, _, machine = rival
    own = activate(store, key, "My machine")
    visitor = signed_in(store, key)
    licence = licence_at_keygen(store, key)["id"]
    tricks = [
        machine,
        machine.upper(),
        f"{own}/../{machine}",
        f"../machines/{machine}",
        f"../licenses/{licence}",
        f"../licenses/{licence}/machines/{machine}",
        f"{own}?",
        f"{own}#",
        f"{own}\n",
        f"{own}%2f..%2f{machine}",
        "." * 36,
        "-" * 36,
        licence,
        "",
        "Rival's machine",
    ]
    for trick in tricks:
        answer = visitor.client.post("/free-machine", json={"machine": trick})
        assert answer.status_code == 404, trick
    assert machine in owner.open("/view-license").text
    assert own in visitor.open("/view-license").text
    seen = [one["path"] for one in store.town.keygen.controls.seen if one["method"] == "DELETE"]
    assert seen == []
    assert visitor.client.post("/free-machine", json={"machine": own}).status_code == 303
    assert own not in visitor.open("/view-license").text


def test_nobody_signed_in_reaches_nothing(store: Store, rival: tuple[Visitor, str, str]) -> None:
    _, customer, machine = rival
    with program(store) as client:
        for path, body in (
            ("/create-portal-session", {"customer": customer}),
            ("/free-machine", {"machine": machine}),
        ):
            answer = client.post(path, json=body)
            assert (answer.status_code, answer.json()["code"]) == (401, "sign-in-needed")
        assert client.get("/view-license").status_code == 401


def test_a_purchase_of_somebody_is_not_found_by_trying(store: Store) -> None:
    paid = str(store.buy("developer", "bought@example.com").url).partition("session_id=")[2]
    unpaid = store.visitor().open("/buy?plan=developer").headers["location"].rpartition("/")[2]
    assert unpaid.startswith("cs_")
    tried = [
        "",
        "cs_",
        "cs_test_unknown",
        paid[:-1],
        paid.upper(),
        f"../customers?{paid}",
        f"cs_/../{paid}",
        f"cs_%2F..%2F{paid}",
        "cs_..%2f..%2fevents",
        f"{paid}%00",
        f"{paid}/line_items",
        f"{paid}%3Fexpand%5B%5D=customer",
        "cs_" + "A" * 400,
        "cs_%C3%A9",
        "cus_1",
    ]
    visitor = store.visitor()
    pages = set()
    for one in tried:
        answer = visitor.open(f"/success?session_id={one}")
        assert answer.status_code == 404, one
        pages.add(answer.text)
        assert "shimmy-session" not in visitor.client.cookies
    assert len(pages) == 1
    with program(store) as client:
        assert client.get(f"/success?session_id={unpaid}").json() == {"state": "open"}
        assert "shimmy-session" not in client.cookies
        assert re.fullmatch(r"[\w-]+", client.get(f"/success?session_id={paid}").json()["key"])
