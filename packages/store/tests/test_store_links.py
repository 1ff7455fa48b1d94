"""Mailed links: once, in time, in the right hands, for what they were made for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import httpx
import pytest
from store_server import Store, Visitor, eventually, key_on
from visiting import ask_for_link, customer_on, licence_at_keygen, offer_of_merge, signed_in

from shimmy_store.adapters.signed_links import SignedLinks

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

EMAIL = "linked@example.com"
AT_ONCE = 8


@pytest.fixture(scope="module")
def key(store: Store) -> str:
    return key_on(store.buy("developer", EMAIL).text)


@pytest.fixture(autouse=True)
def _a_new_period(store: Store, key: str) -> None:
    store.town.pass_time(minutes=10)


def all_at_once(store: Store, visitor: Visitor, ask: Callable[[httpx.Client], Any]) -> list[Any]:
    """What that many requests of one browser, begun at the same moment, are answered."""
    together = Barrier(AT_ONCE)
    clients = [store.visitor().client for _ in range(AT_ONCE)]

    def go(client: httpx.Client) -> Any:
        client.cookies.update(visitor.client.cookies)
        client.get("/cancel")  # The connection is there before the race begins.
        together.wait(60)
        return ask(client)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(go, clients))


def test_a_link_is_good_once(store: Store, key: str) -> None:
    visitor = store.visitor()
    path = ask_for_link(store, visitor, EMAIL)
    first = visitor.open(path)
    assert (first.status_code, first.headers["location"]) == (303, f"{store.url}/view-license")
    assert first.headers["cache-control"] == "no-store"
    again = visitor.open(path)
    assert again.status_code == 410
    assert "used before" in again.text
    assert "set-cookie" not in again.headers
    assert key in visitor.open("/view-license").text, "the session that it began goes on"


def test_of_eight_at_once_exactly_one_gets_in(store: Store) -> None:
    visitor = store.visitor()
    path = ask_for_link(store, visitor, EMAIL)
    answers = all_at_once(store, visitor, lambda client: client.get(path))
    assert Counter(one.status_code for one in answers) == {303: 1, 410: AT_ONCE - 1}
    begun = [one for one in answers if "shimmy-session" in one.headers.get("set-cookie", "")]
    assert len(begun) == 1


def test_a_link_is_good_for_a_quarter_of_an_hour(store: Store, key: str) -> None:
    early, late = store.visitor(), store.visitor()
    paths = [ask_for_link(store, visitor, EMAIL) for visitor in (early, late)]
    store.town.pass_time(minutes=14, seconds=59)
    assert early.open(paths[0]).status_code == 303
    store.town.pass_time(seconds=1)
    answer = late.open(paths[1])
    assert answer.status_code == 410
    assert "too old" in answer.text
    assert key not in late.open("/view-license").text


def test_another_browser_cannot_use_it_and_does_not_use_it_up(store: Store, key: str) -> None:
    visitor, stranger = store.visitor(), store.visitor()
    path = ask_for_link(store, visitor, EMAIL)
    stranger.open("/pricing")
    answers = [stranger.open(path) for _ in range(3)]
    answers.append(store.visitor().open(path))
    for answer in answers:
        assert answer.status_code == 403
        assert "browser that asked" in answer.text
        assert "shimmy-session" not in answer.headers.get("set-cookie", "")
    assert visitor.open(path).status_code == 303
    # A stranger learns nothing of the link's state, neither that it was used nor that it is old.
    assert stranger.open(path).text == answers[2].text
    store.town.pass_time(minutes=16)
    assert stranger.open(path).text == answers[2].text


def test_what_looks_ahead_does_not_use_it_up(store: Store) -> None:
    visitor = store.visitor()
    path = ask_for_link(store, visitor, EMAIL)
    for method in ("HEAD", "OPTIONS", "POST", "PUT"):
        answer = visitor.client.request(method, path)
        assert answer.status_code in (200, 403, 405)
        assert "set-cookie" not in answer.headers
        assert method != "HEAD" or not answer.content
    assert visitor.open(path).status_code == 303


def test_tokens_cannot_be_guessed_or_changed(store: Store) -> None:
    visitor = store.visitor()
    path = ask_for_link(store, visitor, EMAIL)
    token = path.partition("token=")[2]
    swapped = "A" if token[3] != "A" else "B"
    stranger = SignedLinks(["a secret that is none of the store's at all"])
    wrong = [
        "",
        "x",
        token[:-1],
        f"{token}A",
        token[:3] + swapped + token[4:],
        token.rpartition(".")[0],
        token.upper(),
        f"{token}%20",
        f"%20{token}",
        f"{token}%00",
        "%C3%A9" * 20,
        "%FF",
        "A" * 5000,
        stranger.token("00000000-0000-0000-0000-000000000000"),
        SignedLinks(store.settings.secrets).token("00000000-0000-0000-0000-000000000000"),
        visitor.client.cookies["shimmy-browser"],
    ]
    for one in wrong:
        store.town.pass_time(minutes=1)
        for page in ("/sign-in", "/merge"):
            answer = visitor.client.get(f"{page}?token={one}")
            assert answer.status_code == 404
            assert "not one of ours" in answer.text
            assert "set-cookie" not in answer.headers
    assert visitor.client.get("/sign-in").status_code == 404
    # Given twice, the last one counts; it is good once all the same.
    path = ask_for_link(store, visitor, EMAIL)
    assert visitor.open(f"/sign-in?token=x&{path.partition('?')[2]}").status_code == 303


def two_licences(store: Store, email: str) -> tuple[str, str, str]:
    """The larger licence of somebody, a smaller one under the same address, the mailed offer."""
    large = key_on(store.buy("startup", email).text)
    small = key_on(store.buy("developer", email).text)
    return large, small, offer_of_merge(store, email)


def test_a_link_opens_only_what_it_was_made_for(store: Store) -> None:
    large, small, offer = two_licences(store, "purpose@example.com")
    visitor = store.visitor()
    path = ask_for_link(store, visitor, "purpose@example.com")
    visitor.open("/pricing")
    sign_in, merge = (one.partition("token=")[2] for one in (path, offer))
    visitor.client.headers["Accept"] = "*/*"
    answers = [
        visitor.client.get(f"/sign-in?token={merge}"),
        visitor.client.get(f"/merge?token={sign_in}"),
        visitor.client.post("/merge", json={"token": sign_in}),
    ]
    assert {(one.status_code, one.json()["code"]) for one in answers} == {(404, "link-unknown")}
    assert not licence_at_keygen(store, small)["attributes"]["suspended"]
    assert visitor.open(path).status_code == 303, "that used nothing up"
    shown = visitor.open("/view-license").text
    assert large in shown
    assert small in shown
    visitor.client.headers["Accept"] = "text/html"
    assert visitor.open(offer).status_code == 200


def test_looking_at_an_offer_merges_nothing_and_pressing_it_eight_times_merges_once(
    store: Store,
) -> None:
    large, small, offer = two_licences(store, "pressed@example.com")
    visitor = store.visitor()
    for _ in range(3):
        assert visitor.open(offer).status_code == 200
        assert visitor.client.head(offer).status_code == 200
    assert not licence_at_keygen(store, small)["attributes"]["suspended"]
    page = visitor.open(offer).text
    form = dict(re.findall(r'name="(csrf|token)" value="([^"]+)"', page))
    answers = all_at_once(store, visitor, lambda client: client.post("/merge", data=form))
    counts = Counter(one.status_code for one in answers)
    assert counts[303] == 1, counts
    assert counts[303] + counts[410] + counts[503] == AT_ONCE, counts
    (merged,) = [one for one in answers if one.status_code == 303]
    visitor.client.cookies.update(merged.cookies)
    shown = visitor.open("/view-license").text
    assert large in shown
    assert small not in shown
    assert eventually(lambda: licence_at_keygen(store, small)["attributes"]["suspended"])
    assert not licence_at_keygen(store, large)["attributes"]["suspended"]
    assert visitor.open(offer).status_code == 410


def test_an_offer_is_good_for_a_week(store: Store) -> None:
    _, small, offer = two_licences(store, "week@example.com")
    visitor = store.visitor()
    store.town.pass_time(days=6, hours=23)
    assert visitor.open(offer).status_code == 200
    store.town.pass_time(hours=1)
    assert visitor.submit("/merge").status_code == 410
    assert visitor.open(offer).status_code == 410
    assert not licence_at_keygen(store, small)["attributes"]["suspended"]


def test_an_outsider_who_paid_with_somebodys_address_gets_nothing_by_their_merge(
    store: Store,
) -> None:
    """The holder of the address presses the button; the outsider still has all proofs of before."""
    email = "target@example.com"
    key = key_on(store.buy("startup", email).text)
    outsider = store.visitor()
    page = store.buy("developer", email, outsider)
    bait, back = key_on(page.text), str(page.url).partition(store.url)[2]
    victim = store.visitor()
    victim.open(offer_of_merge(store, email))
    assert victim.submit("/merge").status_code == 303
    shown = victim.open("/view-license").text
    assert key in shown
    customer = customer_on(shown)
    by_key = signed_in(store, bait)
    for proof in (outsider, by_key):
        assert proof.open("/view-license").status_code == 200
        assert "set-cookie" not in proof.client.get("/view-license").headers
        for path in ("/view-license", back, "/buy?plan=startup"):
            answer = proof.open(path)
            assert key not in answer.text
            assert customer not in answer.text
        proof.client.headers["Accept"] = "*/*"
        told = proof.client.post("/create-portal-session", json={"customer": customer})
        assert (told.status_code, told.json()["code"]) == (403, "licence-not-yours")
    # The mailbox is proof of both.
    again = store.visitor()
    assert again.open(ask_for_link(store, again, email)).status_code == 303
    assert key in again.open("/view-license").text
