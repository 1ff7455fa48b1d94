"""Other sites' forms: whatever a page elsewhere makes a browser send, nothing happens here."""

from __future__ import annotations

import pytest
from store_server import Store, Visitor, key_on
from visiting import POSTS, activate, customer_on, form_token, program, signed_in

from shimmy_store.server.app import create_app
from shimmy_store.wiring import open_shop

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def key(store: Store) -> str:
    key = key_on(store.buy("developer", "victim@example.com").text)
    activate(store, key, "The victim's machine")
    return key


@pytest.fixture
def victim(store: Store, key: str) -> Visitor:
    store.town.pass_time(minutes=10)
    return signed_in(store, key)


def everything(victim: Visitor, key: str) -> dict[str, str]:
    """Fields that would do whatever a form can do."""
    page = victim.open("/view-license").text
    machine = page.partition('name="machine" value="')[2].partition('"')[0]
    fields = {"machine": machine, "customer": customer_on(page), "plan": "developer", "key": key}
    assert all(fields.values())
    return fields


def assert_nothing_happened(victim: Visitor, key: str) -> None:
    page = victim.open("/view-license").text
    assert key in page, "still signed in"
    assert "The victim&#39;s machine" in page


def test_every_form_of_the_store_is_tried_here(store: Store) -> None:
    routes = create_app(store.settings, open_shop).routes
    posts = {one.path for one in routes if "POST" in (getattr(one, "methods", None) or ())}  # type: ignore[attr-defined]
    assert posts == {*POSTS, "/stripe-webhook"}


@pytest.mark.parametrize("path", POSTS)
def test_a_form_without_this_browsers_token_does_nothing(
    store: Store, victim: Visitor, key: str, path: str
) -> None:
    fields, foreign = everything(victim, key), form_token(store.visitor())
    own = form_token(victim)
    wrong = ["", foreign, own[:-1], own.upper(), f"{own}0", "é"]
    for forged in [{}, *({"csrf": token} for token in wrong)]:
        answer = victim.client.post(path, data={**fields, **forged})
        assert answer.status_code == 403
        assert "form-expired" in answer.text
        assert "set-cookie" not in answer.headers
    assert_nothing_happened(victim, key)


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "header",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "anything"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
    ids=str,
)
def test_what_another_site_sends_is_refused_even_with_the_right_token(
    victim: Visitor, key: str, path: str, header: dict[str, str]
) -> None:
    fields = everything(victim, key)
    form = victim.client.post(path, data={**fields, "csrf": form_token(victim)}, headers=header)
    told = victim.client.post(path, json=fields, headers={**header, "Accept": "*/*"})
    assert (form.status_code, told.status_code) == (403, 403)
    assert told.json()["code"] == "other-site"
    assert "page of another site" in form.text
    assert form.headers["content-type"].startswith("text/html")
    assert_nothing_happened(victim, key)


def test_an_origin_that_only_begins_like_ours_is_another(store: Store, victim: Visitor) -> None:
    for like in (f"{store.url}.evil.example", f"{store.url}0", store.url.replace("http", "https")):
        answer = victim.client.post("/sign-out", json={}, headers={"Origin": like})
        assert answer.status_code == 403


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "text/plain; application/json",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded; application/json",
        "application/jsonp",
        "text/json",
        "application/json-patch+json",
        "*/*",
        "",
    ],
)
@pytest.mark.parametrize("path", POSTS)
def test_json_goes_only_under_its_own_name(victim: Visitor, path: str, kind: str) -> None:
    """Under the other names a page of another site may send it without asking us first."""
    body = b'{"plan": "developer", "key": "x", "email": "a@b.example"}'
    answer = victim.client.post(path, content=body, headers={"Content-Type": kind})
    assert answer.status_code in (403, 415)
    assert "set-cookie" not in answer.headers


def test_browsers_and_programs_that_mean_it_are_let_in(store: Store, victim: Visitor) -> None:
    fields = {"csrf": form_token(victim), "plan": "developer"}
    for site in ("same-origin", "none"):
        headers = {"Origin": store.url, "Sec-Fetch-Site": site}
        answer = victim.client.post("/create-checkout-session", data=fields, headers=headers)
        assert answer.status_code == 303
    with program(store) as client:
        odd = {"Content-Type": "Application/JSON; charset=utf-8"}
        sent = client.post("/create-checkout-session", content=b'{"plan":"startup"}', headers=odd)
        assert sent.status_code == 200


def test_stripe_is_no_browser(store: Store) -> None:
    with program(store, Origin="https://evil.example") as client:
        answer = client.post("/stripe-webhook", content=b"{}")
    assert (answer.status_code, answer.json()["code"]) == (400, "event-refused")


def test_no_other_site_is_allowed_to_ask_or_to_read(store: Store, victim: Visitor) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for path in (*POSTS, "/", "/health"):
        for answer in (
            victim.client.options(path, headers=asked),
            victim.client.get(path, headers=asked),
        ):
            assert not [name for name in answer.headers if name.startswith("access-control")]
        assert victim.client.options(path, headers=asked).status_code == 405


def test_a_get_of_another_site_changes_nothing(victim: Visitor, key: str) -> None:
    fields = everything(victim, key)
    for path in POSTS:
        victim.client.get(path, params={**fields, "csrf": form_token(victim)})
    assert_nothing_happened(victim, key)


def test_a_browser_that_keeps_no_cookies_is_told_so(store: Store) -> None:
    visitor = store.visitor()
    page = visitor.open("/view-license")
    visitor.client.cookies.clear()
    visitor.last = page
    answer = visitor.submit("/view-license", email="a@example.com")
    assert answer.status_code == 403
    assert "does not keep our cookie" in answer.text
