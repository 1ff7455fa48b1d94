"""A customer's way through the store over HTTP: buying, losing the key, changing, ending."""

from __future__ import annotations

import re

import httpx
import pytest
from store_server import Store, Visitor, come_back, eventually, key_on
from town import CATALOG, NO_TLS, REFUSED_LATER
from visiting import activate, licence_at_keygen, signed_in

from shimmy_store.domain.fulfilment import Alarm

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

PLANS = [plan["id"] for plan in CATALOG["plans"]]


def portal_of(visitor: Visitor) -> str:
    page = visitor.open("/view-license")
    customer = re.search(r'name="customer" value="(cus_\w+)"', page.text)
    assert customer
    answer = visitor.submit("/create-portal-session", customer=customer[1])
    assert answer.status_code == 303
    return str(answer.headers["location"])


@pytest.mark.parametrize("plan", PLANS)
def test_every_plan_is_bought_shown_and_mailed(store: Store, plan: str) -> None:
    email = f"{plan}@example.com"
    page = store.buy(plan, email)
    assert page.status_code == 200
    key = key_on(page.text)
    assert f"shimmy license activate {key}" in page.text
    licence = licence_at_keygen(store, key)
    assert licence["attributes"]["metadata"]["plan"] == plan
    assert (licence["attributes"]["expiry"] is None) == (plan == "lifetime")
    assert key in store.mail(email, "licence")


def test_the_form_of_the_pricing_page_leads_to_the_checkout(store: Store) -> None:
    visitor = store.visitor()
    for plan in CATALOG["plans"]:
        page = visitor.open("/pricing")
        assert f"<strong>${plan['unit_amount'] // 100}" in page.text
        first = visitor.submit("/create-checkout-session", plan=plan["id"])
        assert first.status_code == 303
        assert first.headers["location"].startswith(store.town.payments.url)
    # The same form twice is the same purchase; the page loaded anew is another one.
    once = visitor.open("/pricing")
    pay = visitor.submit("/create-checkout-session", plan="startup").headers["location"]
    visitor.last = once
    again = visitor.submit("/create-checkout-session", plan="startup").headers["location"]
    visitor.open("/pricing")
    other = visitor.submit("/create-checkout-session", plan="startup").headers["location"]
    assert pay == again
    assert other != pay


def test_programs_are_told_where_to_go(store: Store) -> None:
    client = httpx.Client(base_url=store.url, trust_env=False, verify=NO_TLS)
    with client:
        answer = client.post("/create-checkout-session", json={"plan": "developer"})
        assert answer.status_code == 200
        assert answer.json()["url"].startswith(store.town.payments.url)
        wrong = client.post("/create-checkout-session", json={"plan": "free"})
        assert wrong.status_code == 404
        assert wrong.headers["content-type"] == "application/problem+json"
        assert wrong.json()["code"] == "plan-unknown"
        assert "developer, professional" in wrong.json()["hint"]
        plans = client.get("/pricing", headers={"Accept": "application/json"}).json()["plans"]
    assert [one["id"] for one in plans] == PLANS


def test_a_declined_card_may_be_tried_again(store: Store) -> None:
    visitor = store.visitor()
    pay = visitor.open("/buy?plan=developer").headers["location"]
    form = {"email": "again@example.com", "name": "A", "card_expiry": "12/34", "card_cvc": "123"}
    declined = store.town.browser.post(pay, data={**form, "card_number": "4000000000000002"})
    assert declined.status_code == 402
    assert "declined" in declined.text
    session = pay.rpartition("/")[2]
    page = visitor.open(f"/success?session_id={session}")
    assert "not paid yet" in page.text
    store.pay(pay, "again@example.com")
    assert key_on(come_back(visitor, f"/success?session_id={session}").text)


def test_three_d_secure(store: Store) -> None:
    visitor = store.visitor()
    pay = visitor.open("/buy?plan=developer").headers["location"]
    challenge = store.pay(pay, "secure@example.com", card="4000002760003184")
    assert challenge.endswith("/challenge")
    done = store.town.browser.post(
        challenge if "://" in challenge else f"{store.town.payments.url}{challenge}",
        data={"outcome": "complete"},
    )
    back = done.headers["location"].partition(store.url)[2]
    assert key_on(come_back(visitor, back).text)


def test_the_success_page_proves_a_purchase_for_half_an_hour(store: Store) -> None:
    visitor = store.visitor()
    page = store.buy("developer", "late@example.com", visitor)
    back, key = str(page.url).partition(store.url)[2], key_on(page.text)
    store.town.pass_time(minutes=29)
    assert key in store.visitor().open(back).text
    assert key in visitor.open("/view-license").text
    store.town.pass_time(minutes=2)
    for late in (store.visitor().open(back), visitor.open(back)):
        assert key not in late.text
        assert "in your mail" in late.text
    assert key not in visitor.open("/view-license").text


def test_a_payment_that_takes_time_is_no_licence_yet(store: Store) -> None:
    visitor = store.visitor()
    pay = visitor.open("/buy?plan=lifetime").headers["location"]
    form = {"email": "wallet@example.com", "name": "Li", "payment_method": "alipay"}
    back = store.town.browser.post(pay, data=form).headers["location"]
    if back.endswith("/challenge"):
        url = back if "://" in back else f"{store.town.payments.url}{back}"
        back = store.town.browser.post(url, data={"outcome": "complete"}).headers["location"]
    path = back.partition(store.url)[2]
    assert "being confirmed" in visitor.open(path).text
    assert store.mails("wallet@example.com") == []
    store.town.pass_time(minutes=65)
    assert store.mail("wallet@example.com", "licence")
    # The money was sent for longer than half an hour ago: the page proves nothing any more.
    assert "in your mail" in visitor.open(path).text


def test_a_lost_key_comes_back_by_mail_into_the_browser_that_asked(store: Store) -> None:
    key = key_on(store.buy("developer", "Lost@Example.com").text)
    visitor, stranger = store.visitor(), store.visitor()
    visitor.open("/view-license")
    sent = visitor.submit("/view-license", email="lost@example.COM")
    assert sent.status_code == 202
    text = store.mail("Lost@Example.com", "link")
    link = re.search(r"http\S+/sign-in\?token=\S+", text)
    assert link
    assert key not in text
    path = link[0].partition(store.url)[2]
    refused = stranger.open(path)
    assert refused.status_code == 403
    assert "browser that asked" in refused.text
    assert visitor.open(path).status_code == 303
    assert key in visitor.open("/view-license").text
    assert visitor.open(path).status_code == 410
    assert stranger.open("/view-license").status_code == 200
    assert key not in stranger.open("/view-license").text


def test_machines_are_shown_and_freed(store: Store) -> None:
    key = key_on(store.buy("developer", "machines@example.com").text)
    activate(store, key, "Old laptop")
    visitor = signed_in(store, key)
    page = visitor.open("/view-license")
    assert "Old laptop" in page.text
    assert "1 of 1" in page.text
    machine = re.search(r'name="machine" value="([^"]+)"', page.text)
    assert machine
    assert visitor.submit("/free-machine", machine=machine[1]).status_code == 303
    assert "0 of 1" in visitor.open("/view-license").text
    activate(store, key, "New laptop")
    again = visitor.client.post("/free-machine", json={"machine": machine[1]})
    assert again.status_code == 404


def test_whoever_pays_already_is_led_to_the_portal(store: Store) -> None:
    email = "twice@example.com"
    key = key_on(store.buy("developer", email).text)
    visitor = signed_in(store, key)
    way = visitor.open("/buy?plan=startup")
    portal = way.headers["location"]
    assert "/p/session/" in portal
    page = store.town.browser.get(portal, follow_redirects=True)
    assert "Confirm" in page.text, page.text
    form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text))
    done = store.town.browser.post(str(page.url.copy_with(query=None)), data=form)
    assert done.status_code == 303, done.text
    text = store.mail(email, "is now")
    assert "Developer" in text
    assert "Startup" in text
    licence = eventually(
        lambda: next(
            (
                one
                for one in [licence_at_keygen(store, key)]
                if one["attributes"]["metadata"]["plan"] == "startup"
            ),
            None,
        )
    )
    assert licence["attributes"]["maxMachines"] == 5
    assert "Startup" in visitor.open("/view-license").text


def test_lifetime_is_not_sold_twice_to_somebody_signed_in(store: Store) -> None:
    key = key_on(store.buy("lifetime", "once@example.com").text)
    visitor = signed_in(store, key)
    assert visitor.open("/buy?plan=lifetime").headers["location"] == f"{store.url}/view-license"


def test_a_cancelled_plan_runs_to_its_end_and_is_mailed(store: Store) -> None:
    email = "leaving@example.com"
    key = key_on(store.buy("developer", email).text)
    visitor = signed_in(store, key)
    portal = portal_of(visitor)
    subscription = store.town.sdk.v1.subscriptions.list({"limit": 1}).data[0].id
    store.town.browser.post(f"{portal}/cancel", data={"subscription": subscription})
    text = store.mail(email, "last day")
    assert re.search(r"\d+ \w+ 20\d\d", text)
    assert not licence_at_keygen(store, key)["attributes"]["suspended"]
    # The next purchase of somebody who is leaving puts the one that ends in order.
    assert "/p/session/" in visitor.open("/buy?plan=startup").headers["location"]


def test_a_renewal_that_fails_is_mailed_and_keeps_access_in_grace(store: Store) -> None:
    email = "broke@example.com"
    key = key_on(store.buy("developer", email).text)
    visitor = signed_in(store, key)
    portal = portal_of(visitor)
    saved = store.town.browser.post(f"{portal}/card", data={"card_number": REFUSED_LATER})
    assert saved.status_code == 303
    store.town.pass_time(days=31, hours=2)
    text = store.mail(email, "could not be charged")
    assert "card" in text.lower()
    assert not licence_at_keygen(store, key)["attributes"]["suspended"]
    expiry = licence_at_keygen(store, key)["attributes"]["expiry"]
    assert expiry > store.town.now().isoformat(), "three days of grace"


def test_a_refund_by_the_operator_suspends_and_is_mailed(store: Store) -> None:
    email = "refund@example.com"
    key = key_on(store.buy("lifetime", email).text)
    intent = store.town.sdk.v1.payment_intents.list({"limit": 1}).data[0].id
    store.town.sdk.v1.refunds.create({"payment_intent": intent})

    def suspended() -> bool:
        return bool(licence_at_keygen(store, key)["attributes"]["suspended"])

    assert eventually(suspended)
    assert store.mail(email, "refund")
    assert "Suspended" in signed_in(store, key).open("/view-license").text


def test_two_customers_of_one_address_become_one_only_by_the_mailed_link(store: Store) -> None:
    email = "both@example.com"
    small = key_on(store.buy("developer", email).text)
    assert "/merge" not in store.mail(email, "licence")
    large = key_on(store.buy("startup", email.upper()).text)
    assert small != large, "the address alone merges nothing"
    text = eventually(
        lambda: next(
            (one["text"] for one in store.mails(email.upper()) if "/merge" in one["text"]), None
        )
    )
    path = re.search(r"/merge\?token=\S+", text)
    assert path
    visitor = store.visitor()
    page = visitor.open(path[0])
    assert "Developer" in page.text
    assert "Startup" in page.text
    assert not licence_at_keygen(store, small)["attributes"]["suspended"], "looking does nothing"
    assert visitor.submit("/merge").status_code == 303
    assert eventually(lambda: licence_at_keygen(store, small)["attributes"]["suspended"])
    kept = licence_at_keygen(store, large)["attributes"]
    assert (kept["suspended"], kept["metadata"]["plan"]) == (False, "startup")
    shown = visitor.open("/view-license").text
    assert large in shown
    assert small not in shown
    running = [
        one
        for one in store.town.sdk.v1.subscriptions.list({"limit": 2, "status": "all"}).data
        if one.status == "active"
    ]
    assert len(running) == 1
    assert any(one.code == "merge-credit" for one in store.town.ask("open_alarms"))
    assert visitor.open(path[0]).status_code == 410


def test_a_webhook_that_never_comes_is_healed_by_the_success_page(store: Store) -> None:
    store.town.control("deliveries", {"hold": True})
    try:
        page = store.buy("professional", "unheard@example.com")
    finally:
        store.town.control("deliveries", {"release": "reversed"})
    assert key_on(page.text) in store.mail("unheard@example.com", "licence")


def test_webhooks_that_come_three_times_make_one_licence(store: Store) -> None:
    before = store.town.count_licences()
    store.town.control("deliveries", {"duplicate": 3})
    try:
        store.buy("developer", "thrice@example.com")
        store.mail("thrice@example.com", "licence")
        eventually(store.all_came)
    finally:
        store.town.control("deliveries", {"duplicate": 0})
    assert store.town.count_licences() == before + 1
    assert len(store.mails("thrice@example.com")) == 1


def test_a_price_that_is_not_the_catalogs_is_not_sold(store: Store) -> None:
    prices, sdk = store.town.prices, store.town.sdk
    right = sdk.v1.prices.retrieve(prices["professional"])
    wrong = sdk.v1.prices.create(
        {
            "product": right.product,
            "currency": "usd",
            "unit_amount": 100,
            "recurring": {"interval": "month"},
            "lookup_key": "professional",
            "transfer_lookup_key": True,
        }
    )
    try:
        page = store.visitor().open("/buy?plan=professional")
        assert page.status_code == 503
        assert "not on sale" in page.text
        assert Alarm("price-differs", wrong.id) in store.town.ask("open_alarms")
    finally:
        change = {"lookup_key": "professional", "transfer_lookup_key": True}
        sdk.v1.prices.update(right.id, change)


def test_time_and_money_agree_in_the_end(store: Store) -> None:
    """The last one: everything that was bought above is settled."""
    store.town.pass_time(minutes=30)

    def settled() -> bool:
        stock = store.town.ask("take_stock")
        return stock.oldest_event is None and not stock.messages_waiting

    assert eventually(settled, 40)
    parked = [one for one in store.town.ask("open_alarms") if one.code.endswith("-parked")]
    assert parked == []
