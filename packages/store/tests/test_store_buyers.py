"""As whom somebody buys who has proved one licence, several, or one that went into another."""

from __future__ import annotations

import re

import pytest
from store_server import Store, key_on
from visiting import ask_for_link, offer_of_merge, signed_in

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def test_the_address_of_a_success_page_signs_no_other_browser_in(store: Store) -> None:
    """Or an outsider who paid could have a visitor add a card to the outsider's account."""
    page = store.buy("developer", "led@example.com")
    back = str(page.url).partition(store.url)[2]
    victim = store.visitor()
    assert key_on(victim.open(back).text) == key_on(page.text)
    assert "By mail" in victim.open("/view-license").text


def test_of_several_licences_the_buyer_chooses_on_the_licence_page(store: Store) -> None:
    email = "several@example.com"
    for plan in ("developer", "startup"):
        store.buy(plan, email)
        store.mail(email, plan.title())
    visitor = store.visitor()
    visitor.open(ask_for_link(store, visitor, email))
    page = visitor.open("/view-license")
    assert len(re.findall(r'name="customer" value="cus_', page.text)) == 2
    assert visitor.open("/buy?plan=enterprise").headers["location"] == f"{store.url}/view-license"


def test_a_licence_that_went_into_another_buys_nothing_for_it(store: Store) -> None:
    email = "gone@example.com"
    ended = key_on(store.buy("developer", email).text)
    kept = key_on(store.buy("startup", email).text)
    visitor = store.visitor()
    visitor.open(offer_of_merge(store, email))
    visitor.submit("/merge")
    assert kept in visitor.open("/view-license").text
    outsider = signed_in(store, ended)
    way = outsider.open("/buy?plan=developer").headers["location"]
    session = way.rpartition("/")[2]
    assert store.town.sdk.v1.checkout.sessions.retrieve(session).customer is None
