"""Careless visitors: they press twice, go back, come late, mistype; nothing bad comes of it."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from store_server import Store, Visitor, eventually, key_on
from visiting import activate, ask_for_link, customer_on, form_token, program, signed_in

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture(autouse=True)
def _a_new_period(store: Store) -> None:
    store.town.pass_time(minutes=10)


def sessions_at_stripe(store: Store) -> int:
    return len(store.town.sdk.v1.checkout.sessions.list({"limit": 100}).data)


def test_pressing_buy_twice_is_one_purchase(store: Store) -> None:
    visitor = store.visitor()
    page = visitor.open("/pricing").text
    attempt = page.partition('name="attempt" value="')[2].partition('"')[0]
    sent = {"csrf": form_token(visitor), "attempt": attempt, "plan": "developer"}
    before = sessions_at_stripe(store)

    def press(_: int) -> str:
        answer = visitor.client.post("/create-checkout-session", data=sent)
        assert answer.status_code == 303
        return str(answer.headers["location"])

    assert len({press(0), press(1), press(2)}) == 1
    assert sessions_at_stripe(store) == before + 1


def test_somebody_elses_attempt_leads_to_a_page_of_ones_own(store: Store) -> None:
    places = set()
    for visitor in (store.visitor(), store.visitor()):
        sent = {"csrf": form_token(visitor), "attempt": "the same", "plan": "developer"}
        answer = visitor.client.post("/create-checkout-session", data=sent)
        places.add(answer.headers["location"])
    assert len(places) == 2


def test_a_success_page_loaded_again_and_again_is_one_licence(store: Store) -> None:
    visitor = store.visitor()
    before = store.town.count_licences()
    page = store.buy("developer", "reload@example.com", visitor)
    back, key = str(page.url).partition(store.url)[2], key_on(page.text)
    with ThreadPoolExecutor(4) as pool:
        pages = list(pool.map(lambda _: visitor.client.get(back).text, range(8)))
    assert {key_on(one) for one in pages} == {key}
    assert store.town.count_licences() == before + 1
    eventually(lambda: store.mails("reload@example.com"))
    assert len(store.mails("reload@example.com")) == 1


def test_coming_back_without_having_paid(store: Store) -> None:
    visitor = store.visitor()
    pay = visitor.open("/buy?plan=developer").headers["location"]
    session = pay.rpartition("/")[2]
    assert "not paid yet" in visitor.open(f"/success?session_id={session}").text
    assert "Nothing was charged" in visitor.open("/cancel").text
    assert "shimmy-session" not in visitor.client.cookies
    store.town.pass_time(hours=25)
    assert "not paid in time" in visitor.open(f"/success?session_id={session}").text
    assert visitor.open("/success").status_code == 404
    assert visitor.open("/success?session_id={CHECKOUT_SESSION_ID}").status_code == 404


def test_a_plan_that_is_none(store: Store) -> None:
    visitor = store.visitor()
    for plan in ("", "free", "Developer", "developer ", "developer&plan=free", "%00"):
        page = visitor.open(f"/buy?plan={plan}")
        assert page.status_code == 404
        assert "Plans are developer" in page.text
    assert visitor.open("/buy").status_code == 404


def test_looking_ahead_begins_no_purchase(store: Store) -> None:
    before = sessions_at_stripe(store)
    visitor = store.visitor()
    answer = visitor.client.head("/buy?plan=developer")
    assert (answer.status_code, answer.content) == (200, b"")
    assert sessions_at_stripe(store) == before


def test_every_page_answers_a_head_without_a_body(store: Store) -> None:
    visitor = store.visitor()
    for path in ("/", "/pricing", "/cancel", "/view-license", "/health", "/nowhere", "/metrics"):
        answer = visitor.client.head(path)
        assert answer.status_code == visitor.client.get(path).status_code
        assert answer.content == b""


def test_an_address_typed_with_spaces_and_capitals(store: Store) -> None:
    key = key_on(store.buy("developer", "Careful.Typist@Example.com").text)
    visitor = store.visitor()
    visitor.open("/view-license")
    page = visitor.submit("/view-license", email="  careful.typist@example.COM ")
    assert page.status_code == 202
    path = re.search(
        r"/sign-in\?token=\S+", store.mail("Careful.Typist@Example.com", "/sign-in?token=")
    )
    assert path
    assert visitor.open(path[0]).status_code == 303
    assert key in visitor.open("/view-license").text


def test_the_older_of_two_links_still_works_and_so_does_the_newer(store: Store) -> None:
    email = "impatient@example.com"
    store.buy("developer", email)
    visitor = store.visitor()
    paths = [ask_for_link(store, visitor, email) for _ in range(2)]
    assert [visitor.open(path).status_code for path in paths] == [303, 303]


def test_a_link_opened_on_the_phone_first(store: Store) -> None:
    email = "phone@example.com"
    key = key_on(store.buy("developer", email).text)
    desk, phone = store.visitor(), store.visitor()
    path = ask_for_link(store, desk, email)
    page = phone.open(path)
    assert page.status_code == 403
    assert "Open it there" in page.text
    desk.open(path)
    assert key in desk.open("/view-license").text


def test_a_form_from_before_signing_out_does_nothing(store: Store) -> None:
    key = key_on(store.buy("developer", "back@example.com").text)
    activate(store, key, "Kept machine")
    visitor = signed_in(store, key)
    page = visitor.open("/view-license")
    machine = re.search(r'name="machine" value="([^"]+)"', page.text)
    assert machine
    visitor.submit("/sign-out")
    visitor.last = page
    answer = visitor.submit("/free-machine", machine=machine[1])
    assert answer.status_code == 401
    assert "use a mailed link or your licence key" in answer.text
    assert "Kept machine" in signed_in(store, key).open("/view-license").text


def test_a_machine_freed_twice(store: Store) -> None:
    key = key_on(store.buy("developer", "double@example.com").text)
    machine = activate(store, key, "Freed machine")
    visitor = signed_in(store, key)
    page = visitor.open("/view-license")
    assert visitor.submit("/free-machine", machine=machine).status_code == 303
    visitor.last = page
    again = visitor.submit("/free-machine", machine=machine)
    assert again.status_code == 404
    assert "Load the licence page again" in again.text


def test_nothing_typed_at_all(store: Store) -> None:
    visitor = store.visitor()
    for fields in ({}, {"email": ""}, {"key": "  "}, {"email": " ", "key": ""}):
        visitor.open("/view-license")
        page = visitor.client.post("/view-license", data={"csrf": form_token(visitor), **fields})
        assert page.status_code == 422
        assert "Give the licence key" in page.text


def test_both_fields_typed(store: Store) -> None:
    key = key_on(store.buy("developer", "eager@example.com").text)
    visitor = store.visitor()
    visitor.open("/view-license")
    assert visitor.submit("/view-license", key=key, email="x").status_code == 303


def test_the_key_of_a_licence_that_went_into_another_is_told_apart(store: Store) -> None:
    email = "merged@example.com"
    store.buy("startup", email)
    old = key_on(store.buy("developer", email).text)
    visitor = store.visitor()
    text = eventually(
        lambda: next((one["text"] for one in store.mails(email) if "/merge" in one["text"]), None)
    )
    offer = re.search(r"/merge\?token=\S+", text)
    assert offer
    visitor.open(offer[0])
    assert visitor.submit("/merge").status_code == 303
    page = signed_in(store, old).open("/view-license")
    assert page.status_code == 200
    assert "use the key of the one that stayed" in page.text


def test_two_licences_of_one_mailbox_are_shown_side_by_side(store: Store) -> None:
    email = "pair@example.com"
    keys = {key_on(store.buy(plan, email).text) for plan in ("developer", "lifetime")}
    visitor = store.visitor()
    visitor.open(ask_for_link(store, visitor, email))
    page = visitor.open("/view-license").text
    assert "Your licences" in page
    assert all(key in page for key in keys)
    customers = set(re.findall(r'name="customer" value="(cus_\w+)"', page))
    assert len(customers) == 2
    for customer in customers:
        visitor.open("/view-license")
        answer = visitor.submit("/create-portal-session", customer=customer)
        portal = store.town.browser.get(answer.headers["location"])
        assert portal.status_code in (200, 303)


def test_a_buyer_who_forgot_to_sign_in_gets_what_was_paid_for(store: Store) -> None:
    email = "forgetful@example.com"
    first, second = (key_on(store.buy("developer", email).text) for _ in range(2))
    assert first != second
    for key in (first, second):
        page = signed_in(store, key).open("/view-license").text
        assert "Active" in page
        assert len(re.findall(r"cus_\w+", page)) == 1
    assert customer_of(signed_in(store, first)) != customer_of(signed_in(store, second))


def customer_of(visitor: Visitor) -> str:
    return customer_on(visitor.open("/view-license").text)


def test_programs_get_along_without_cookies(store: Store) -> None:
    key = key_on(store.buy("developer", "script@example.com").text)
    with program(store) as client:
        told = client.post("/view-license", json={"key": key})
        assert told.status_code == 200
        (licence,) = told.json()["licences"]
        assert (licence["key"], licence["state"], licence["machines"]) == (key, "active", [])
        client.cookies.clear()
        unproved = client.get("/view-license")
        assert (unproved.status_code, unproved.json()["code"]) == (401, "sign-in-needed")
