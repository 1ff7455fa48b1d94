"""Customers' ways through the store in a real browser, from the pricing page.

Each journey is a customer of its own with an address and a jar of cookies of its own, and asserts
what the pages show and what Stripe, the licence server and the mailbox have.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from journeys import (
    activation_in,
    asked,
    choose,
    customer_of,
    deliveries_to,
    fault,
    late_webhooks,
    licences_of,
    pay,
    somebody,
    still_clock,
    subscriptions_of,
    the_licence,
)
from looking import Eyes
from street import ROOT, Street, eventually, run

from shimmy_sandbox.shopper.pages import (
    DECLINED_CARD,
    SECURE_CARD,
    ChallengePage,
    CheckoutPage,
    LicencePage,
    PortalPage,
    PricingPage,
    SuccessPage,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PLANS = json.loads((ROOT / "contracts/plans.json").read_text())["plans"]
NAMES = {plan["id"]: plan["name"] for plan in PLANS}


@pytest.mark.parametrize("plan", [plan["id"] for plan in PLANS])
def test_every_plan_is_bought_with_the_test_card(
    street: Street, site: str, tab: Page, eyes: Eyes, plan: str
) -> None:
    email = f"{plan}@journey.example"
    pricing, checkout = PricingPage(tab), CheckoutPage(tab)
    pricing.open(f"{site}/pricing.html")
    eyes.look(tab, "site-pricing")
    pricing.choose(plan)
    amount = next(one["unit_amount"] for one in PLANS if one["id"] == plan)
    assert checkout.total == f"{amount // 100}.00 USD"
    eyes.look(tab, "checkout-once" if plan == "lifetime" else "checkout")
    checkout.fill(email)
    checkout.pay()
    success = SuccessPage(tab)
    success.wait()
    key = success.key()
    eyes.look(tab, "success")
    assert success.copy() == key
    assert success.said == "The key is in the clipboard."
    assert success.commands == [
        f"shimmy license activate {key}", "shimmy models pull 4.6", "shimmy vision shot.png",
    ]  # fmt: skip
    licence = the_licence(street, email, key, plan)
    assert (licence["expiry"] is None) == (plan == "lifetime")
    if plan == "lifetime":
        assert subscriptions_of(street, email) == []
        (intent,) = street.stripe("payment_intents", customer=customer_of(street, email))
        assert (intent["status"], intent["amount"]) == ("succeeded", amount)
    else:
        (subscription,) = subscriptions_of(street, email)
        assert subscription["status"] == "active"
        assert subscription["items"]["data"][0]["price"]["lookup_key"] == plan


def test_a_declined_card_is_said_and_another_one_pays(
    street: Street, tab: Page, eyes: Eyes
) -> None:
    email = "declined@journey.example"
    PricingPage(tab).open(f"{street.url}/pricing")
    eyes.look(tab, "pricing")
    checkout = choose(street, tab, "developer")
    session = tab.url.rpartition("/")[2]
    checkout.fill(email, DECLINED_CARD)
    checkout.pay()
    tab.get_by_role("alert").wait_for()
    assert "declined" in checkout.problem
    eyes.look(tab, "checkout-declined")
    assert licences_of(street, email) == []
    declined = tab.url
    tab.goto(f"{street.url}/success?session_id={session}")
    assert "not paid yet" in tab.get_by_role("heading", level=1).inner_text()
    eyes.look(tab, "success-unpaid")
    tab.goto(declined)
    checkout.fill(email)
    checkout.pay()
    SuccessPage(tab).wait()
    the_licence(street, email, SuccessPage(tab).key(), "developer")
    assert [one["status"] for one in subscriptions_of(street, email)] == ["active"]


def test_three_d_secure_is_failed_and_then_passed(street: Street, tab: Page, eyes: Eyes) -> None:
    email = "secure@journey.example"
    checkout, bank = choose(street, tab, "professional"), ChallengePage(tab)
    checkout.fill(email, SECURE_CARD)
    checkout.pay()
    bank.wait()
    eyes.look(tab, "challenge")
    bank.fail()
    tab.get_by_role("alert").wait_for()
    assert "authenticat" in checkout.problem
    assert licences_of(street, email) == []
    checkout.fill(email, SECURE_CARD)
    checkout.pay()
    bank.wait()
    bank.complete()
    SuccessPage(tab).wait()
    the_licence(street, email, SuccessPage(tab).key(), "professional")


def test_a_webhook_that_is_30_s_late_keeps_nobody_waiting(street: Street, tab: Page) -> None:
    email = "late@journey.example"
    with still_clock(street), late_webhooks(street, delay_seconds=30):
        key = pay(street, tab, "developer", email).key()
        assert [one["state"] for one in deliveries_to(street, email)] == ["waiting"]
        the_licence(street, email, key, "developer")
        street.steer("STRIPE", "clock", {"advance_seconds": 30})
        street.steer("STRIPE", "deliveries/idle", {"timeout_seconds": 60})
        assert [one["state"] for one in deliveries_to(street, email)] == ["delivered"]
    the_licence(street, email, key, "developer")


def test_a_licence_that_is_30_s_late_is_waited_for_and_then_shown(
    street: Street, tab: Page, eyes: Eyes
) -> None:
    """No webhook and no licence server for 30 seconds of the town's clock."""
    email = "outage@journey.example"
    with still_clock(street), late_webhooks(street, delay_seconds=30):
        with fault(street, "KEYGEN", "status", status=503):
            success = pay(street, tab, "developer", email)
            assert success.is_waiting
            eyes.look(tab, "success-waiting")
            street.steer("STRIPE", "clock", {"advance_seconds": 20})
            # The page has looked again meanwhile, and still has nothing to show.
            with tab.expect_response(re.compile("/success")) as looked:
                pass
            assert looked.value.json() == {"state": "preparing"}
            assert success.is_waiting
            assert [one["state"] for one in deliveries_to(street, email)] == ["waiting"]
            street.steer("STRIPE", "clock", {"advance_seconds": 10})
            street.steer("STRIPE", "deliveries/idle", {"timeout_seconds": 60})
            assert [one["state"] for one in deliveries_to(street, email)] == ["delivered"]
        the_licence(street, email, success.key(), "developer")
        assert not success.is_waiting


def test_without_scripts_the_waiting_page_loads_itself_again(
    street: Street, chromium: Browser
) -> None:
    email = "plain@journey.example"
    with somebody(chromium, scripts=False) as tab:
        with fault(street, "KEYGEN", "status", status=503):
            success = pay(street, tab, "developer", email)
            assert success.is_waiting
            assert tab.get_by_role("link", name="Load it now").is_visible()
        the_licence(street, email, success.key(), "developer")
        assert not tab.locator("[data-copy]").is_visible(), "a button that would do nothing"


def test_a_key_that_cannot_be_copied_is_marked_to_be_copied_by_hand(
    street: Street, tab: Page
) -> None:
    # Browsers have no clipboard for pages on http, unless they are on this machine.
    tab.add_init_script("delete Navigator.prototype.clipboard")
    key = pay(street, tab, "developer", "by-hand@journey.example").key()
    tab.locator("[data-copy]").click()
    tab.get_by_role("button", name="Press Ctrl+C").wait_for()
    assert tab.evaluate("getSelection().toString()") == key


def test_a_webhook_that_comes_three_times_makes_one_licence(street: Street, tab: Page) -> None:
    email = "thrice@journey.example"
    with late_webhooks(street, duplicate=2):
        key = pay(street, tab, "startup", email).key()
        street.steer("STRIPE", "deliveries/idle", {"timeout_seconds": 60})
    came = deliveries_to(street, email)
    assert [one["state"] for one in came] == ["delivered"] * 3
    # Whatever they left to do is done, and every mail that is to go is gone.
    assert run(street.env, "shimmy-store", "sweep").returncode == 0
    the_licence(street, email, key, "startup")
    assert [one["status"] for one in subscriptions_of(street, email)] == ["active"]


def test_who_closes_the_tab_too_early_recovers_by_a_mailed_link(
    street: Street, chromium: Browser, eyes: Eyes
) -> None:
    email = "closed@journey.example"
    with somebody(chromium) as tab:
        checkout = choose(street, tab, "developer")
        session = tab.url.rpartition("/")[2]
        checkout.fill(email)
        with fault(street, "STRIPE", "slow", seconds=1, method="POST", path="/c/pay/"):
            checkout.pay_and_look_away()
            assert eventually(lambda: ("POST", f"/c/pay/{session}") in asked(street))
            tab.close()
    key = activation_in(street.mail(email, "is ready"))
    with somebody(chromium) as tab:
        page = LicencePage(tab)
        page.open(street.url)
        eyes.look(tab, "find-licence")
        page.ask_for_link(email)
        eyes.look(tab, "link-sent")
        link = re.search(r"http\S+/sign-in\?token=\S+", street.mail(email, "/sign-in"))
        assert link
        page.follow(link[0])
        assert page.key == key
        the_licence(street, email, key, "developer")
        page.follow(link[0])
        assert "used before" in tab.get_by_role("heading", level=1).inner_text()
        eyes.look(tab, "problem-link-used")


def test_an_upgrade_and_a_cancellation_in_the_portal(street: Street, tab: Page, eyes: Eyes) -> None:
    email = "upgrade@journey.example"
    key = pay(street, tab, "developer", email).key()
    page, portal = LicencePage(tab), PortalPage(tab)
    page.open(street.url)
    page.open_portal()
    eyes.look(tab, "portal")
    portal.choose_plan("Startup")
    eyes.look(tab, "portal-confirm")
    portal.confirm()
    tab.get_by_role("status").wait_for()
    assert "Your plan was changed." in portal.text
    assert "Startup" in street.mail(email, "is now")
    licence = the_licence(street, email, key, "startup")
    assert licence["maxMachines"] == 5
    (subscription,) = subscriptions_of(street, email)
    assert subscription["items"]["data"][0]["price"]["lookup_key"] == "startup"
    portal.ask_to_cancel()
    eyes.look(tab, "portal-cancel")
    portal.cancel()
    assert "Cancels on" in portal.text
    eyes.look(tab, "portal-cancelled")
    assert "last day" in street.mail(email, "last day")
    (subscription,) = subscriptions_of(street, email)
    assert subscription["status"] == "active"
    portal.leave()
    assert page.plan == "Startup Active"
    # No renewal comes that could be late: the licence ends with the month, without days of grace.
    expiry = the_licence(street, email, key, "startup")["expiry"]
    assert datetime.fromisoformat(expiry).timestamp() == subscription["cancel_at"]


def test_a_refund_by_the_operator_suspends_the_licence(
    street: Street, tab: Page, eyes: Eyes
) -> None:
    email = "refund@journey.example"
    key = pay(street, tab, "enterprise", email).key()
    (charge,) = street.stripe("charges", customer=customer_of(street, email))
    refund = street.stripe("refunds", {"charge": charge["id"]})
    assert refund["status"] == "succeeded"
    assert eventually(lambda: licences_of(street, email)[0]["attributes"]["suspended"])
    assert "refund" in street.mail(email, "refund")
    page = LicencePage(tab)
    page.open(street.url)
    assert page.plan == "Enterprise Suspended"
    assert page.key == key
    eyes.look(tab, "licence-suspended")


def test_a_second_purchase_is_led_to_the_portal(street: Street, tab: Page) -> None:
    email = "second@journey.example"
    key = pay(street, tab, "developer", email).key()
    pricing = PricingPage(tab)
    pricing.open(f"{street.url}/pricing")
    pricing.choose("startup")
    assert "/p/session/" in tab.url
    portal = PortalPage(tab)
    assert "Confirm your new plan" in portal.text
    assert "79.00 USD" in portal.text
    the_licence(street, email, key, "developer")
    portal.confirm()
    tab.wait_for_url("**/view-license")
    assert "Startup" in street.mail(email, "is now")
    tab.reload()
    assert LicencePage(tab).plan == "Startup Active"
    the_licence(street, email, key, "startup")
    assert [one["status"] for one in subscriptions_of(street, email)] == ["active"]


def test_the_bought_key_activates_analyses_and_the_licence_page_tells_it(
    street: Street, tab: Page, eyes: Eyes, model: Path, tmp_path: Path
) -> None:
    email = "works@journey.example"
    activate = pay(street, tab, "startup", email).commands[0]
    env = {
        **street.env,
        "SHIMMY_STATE_DIR": str(tmp_path / "state"),
        "SHIMMY_MODEL_DIR": str(tmp_path / "models"),
        "SHIMMY_MACHINE_ID": "journey",
        "SHIMMY_ALLOW_SYNTHETIC": "1",
    }
    activated = run(env, *activate.split())
    assert activated.returncode == 0, activated.stderr
    image = str(ROOT / "docs/samples/sign-in.png")
    options = ("--model", f"{model}/", "--mode", "brief", "--max-tokens", "16")
    seen = run(env, "shimmy", "vision", image, *options)
    assert seen.returncode == 0, seen.stderr
    assert json.loads(seen.stdout)["meta"]["licence"] == "startup"
    assert "pages used                1\n" in run(env, "shimmy", "license", "usage").stdout
    (licence,) = licences_of(street, email)
    attributes = licence["attributes"]
    machines = street.keygen(f"licenses/{licence['id']}/machines")
    page = LicencePage(tab)
    page.open(street.url)
    assert page.key == attributes["key"] == activate.split()[-1]
    assert page.plan == f"{NAMES[attributes['metadata']['plan']]} Active"
    assert page.machines == [one["attributes"]["name"] for one in machines]
    assert len(machines) == 1
    expiry = datetime.fromisoformat(attributes["expiry"])
    assert page.facts == {
        "Good until": f"{expiry.day} {expiry:%B %Y}",
        "Pages used": f"{attributes['uses']} of {attributes['maxUses']:,}",
        "Machines": f"{len(machines)} of {attributes['maxMachines']}",
    }
    assert (attributes["uses"], attributes["maxUses"]) == (1, 50000)
    eyes.look(tab, "licence")


def test_two_purchases_under_one_address_become_one_licence(
    street: Street, chromium: Browser, eyes: Eyes
) -> None:
    email = "both@journey.example"
    for plan in ("developer", "startup"):
        with somebody(chromium) as tab:
            pay(street, tab, plan, email).key()
    offer = re.search(r"http\S+/merge\?token=\S+", street.mail(email, "/merge?token="))
    assert offer
    # What is still told of either of them would make the store ask for a minute's patience.
    street.steer("STRIPE", "deliveries/idle", {"timeout_seconds": 60})
    assert run(street.env, "shimmy-store", "sweep").returncode == 0
    with somebody(chromium) as tab:
        tab.goto(offer[0])
        eyes.look(tab, "merge")
        assert not any(one["attributes"]["suspended"] for one in licences_of(street, email))
        tab.get_by_role("button", name="Make them one").click()
        assert LicencePage(tab).plan == "Startup Active"

    def ended() -> dict[str, bool]:
        found = (one["attributes"] for one in licences_of(street, email))
        return {one["metadata"]["plan"]: one["suspended"] for one in found}

    # Which licence stays is noted at once, and the other one ended right after that.
    assert eventually(lambda: ended() == {"developer": True, "startup": False})


def test_a_wallet_that_takes_its_time_is_told_what_follows(
    street: Street, tab: Page, eyes: Eyes
) -> None:
    email = "wallet@journey.example"
    checkout = choose(street, tab, "lifetime")
    checkout.fill(email)
    checkout.choose_wallet("alipay")
    checkout.pay()
    SuccessPage(tab).wait()
    assert "being confirmed" in tab.get_by_role("heading", level=1).inner_text()
    eyes.look(tab, "success-processing")
    assert (licences_of(street, email), street.mails(email)) == ([], [])


def test_pages_without_a_licence_say_what_to_do(street: Street, tab: Page, eyes: Eyes) -> None:
    choose(street, tab, "developer").leave()
    tab.get_by_role("heading", name="Nothing was charged").wait_for()
    eyes.look(tab, "cancel")
    tab.goto(f"{street.url}/nowhere")
    eyes.look(tab, "problem-unknown-page")
    tab.get_by_role("link", name="See the plans").click()
    tab.wait_for_url("**/pricing")
    page = LicencePage(tab)
    page.open(street.url)
    tab.get_by_label("Your licence key").fill("AAAAAA-BBBBBB")
    tab.get_by_role("button", name="Open").click()
    assert "Copy it whole from the mail" in tab.locator(".notice").inner_text()
    eyes.look(tab, "problem-unknown-key")


def test_a_shop_that_cannot_sell_now_is_asked_again(street: Street, tab: Page, eyes: Eyes) -> None:
    with fault(street, "STRIPE", "status", status=503, path="/v1/"):
        tab.goto(f"{street.url}/buy?plan=developer")
        assert "Nothing is lost" in tab.locator(".notice").inner_text()
        eyes.look(tab, "problem-try-again")
    tab.get_by_role("link", name="Try again").click()
    assert CheckoutPage(tab).total == "12.00 USD"
