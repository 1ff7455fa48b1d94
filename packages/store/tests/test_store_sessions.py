"""What a browser keeps: nobody else can write it, read it from a page, or make it last longer."""

from __future__ import annotations

import hashlib
import time

import httpx
import pytest
from itsdangerous import URLSafeSerializer
from store_server import SECRET, Store, key_on
from visiting import Door, ask_for_link, at_door, customer_on, program, signed_in

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

NEW = "another secret of tests, long enough".replace(" ", "-")
EMAIL = "keeper@example.com"
HTTPS = "https://store.example"


@pytest.fixture(scope="module")
def key(store: Store) -> str:
    return key_on(store.buy("developer", EMAIL).text)


@pytest.fixture(autouse=True)
def _a_new_period(store: Store, key: str) -> None:
    store.town.pass_time(minutes=10)


def written(customer: str, until: float, secret: str = SECRET, salt: str = "shimmy-session") -> str:
    """A session as the store writes it, from whoever has the secret."""
    how = {"digest_method": hashlib.sha256, "key_derivation": "hmac"}
    made = URLSafeSerializer(secret, salt=salt, signer_kwargs=how).dumps([[customer], until])
    return str(made)


def sees_key(store: Store, key: str, session: str, name: str = "shimmy-session") -> bool:
    with program(store, Cookie=f"{name}={session}") as client:
        page = client.get("/view-license", headers={"Accept": "text/html"})
        told = client.get("/view-license")
    assert page.status_code == 200
    seen = key in page.text
    assert told.status_code == (200 if seen else 401)
    assert (key in told.text) == seen
    assert seen or "Show that it is yours" in page.text
    return seen


def test_only_the_stores_secret_writes_a_session(store: Store, key: str) -> None:
    customer = customer_on(signed_in(store, key).open("/view-license").text)
    later = (store.town.now().timestamp()) + 60
    assert sees_key(store, key, written(customer, later)), "the witness writes as the store does"
    link = store.settings.secrets[0]
    for forged in (
        written(customer, later, secret=NEW),
        written(customer, later, secret=""),
        written(customer, later, salt="shimmy-link"),
        written(customer, later, secret=link, salt=""),
        written(customer, store.town.now().timestamp()),
        written(customer, later - 3600),
        written(customer, later).rpartition(".")[0],
        written(customer, later).rpartition(".")[0] + ".",
        f'[["{customer}"],{later}]',
        customer,
        ".",
        "A" * 5000,
        "%00",
    ):
        assert not sees_key(store, key, forged), forged


def test_every_sign_of_a_session_counts(store: Store, key: str) -> None:
    session = signed_in(store, key).client.cookies["shimmy-session"]
    assert sees_key(store, key, session)
    # All but the last sign: Base64 has bits there that count for nothing.
    for place in range(0, len(session) - 1, 9):
        other = "A" if session[place] != "A" else "B"
        assert not sees_key(store, key, session[:place] + other + session[place + 1 :])
    assert not sees_key(store, key, f"{session}x")
    assert not sees_key(store, key, session, name="__Host-shimmy-session")
    assert not sees_key(store, key, session, name="Shimmy-Session")


def test_a_session_ends_after_an_hour_whatever_the_browser_keeps(store: Store, key: str) -> None:
    session = signed_in(store, key).client.cookies["shimmy-session"]
    store.town.pass_time(minutes=59)
    assert sees_key(store, key, session)
    store.town.pass_time(minutes=1)
    assert not sees_key(store, key, session)


def test_a_session_from_a_checkout_ends_half_an_hour_after_the_payment(store: Store) -> None:
    visitor = store.visitor()
    page = store.buy("developer", "fresh@example.com", visitor)
    key, session = key_on(page.text), visitor.client.cookies["shimmy-session"]
    (kept,) = [one for one in page.headers.get_list("set-cookie") if "-session=" in one]
    assert "Max-Age=1800" in kept
    store.town.pass_time(minutes=20)
    again = visitor.open(str(page.url).partition(store.url)[2])
    (kept,) = [one for one in again.headers.get_list("set-cookie") if "-session=" in one]
    assert "Max-Age=600" in kept, "looking again makes it no longer"
    newer = visitor.client.cookies["shimmy-session"]
    store.town.pass_time(minutes=9)
    assert sees_key(store, key, session)
    assert sees_key(store, key, newer)
    store.town.pass_time(minutes=1)
    assert not sees_key(store, key, session)
    assert not sees_key(store, key, newer)


def test_secrets_are_changed_while_people_are_signed_in(store: Store, key: str) -> None:
    session = signed_in(store, key).client.cookies["shimmy-session"]

    async def look(door: Door) -> tuple[bool, str]:
        async with door.visitor(Cookie=f"shimmy-session={session}") as visitor:
            shown = key in (await visitor.get("/view-license")).text
            proved = await visitor.post("/view-license", json={"key": key})
            return shown, proved.cookies["shimmy-session"]

    shown, written_new = at_door(store, look, secrets=(NEW, SECRET))
    assert shown
    assert not sees_key(store, key, written_new), "the newest secret signs"
    assert not at_door(store, look, secrets=(NEW,))[0], "a secret that is gone opens nothing"


def flags(answer: httpx.Response, name: str) -> set[str]:
    """The attributes of a cookie that was set, without those that say how long."""
    (kept,) = [one for one in answer.headers.get_list("set-cookie") if one.startswith(f"{name}=")]
    parts = [one.strip() for one in kept.split(";")[1:]]
    return {one for one in parts if not one.lower().startswith(("max-age", "expires"))}


def test_no_script_reads_a_cookie_and_no_other_site_sends_it(store: Store, key: str) -> None:
    visitor = store.visitor()
    first = visitor.open("/view-license")
    plain = {"HttpOnly", "Path=/", "SameSite=lax"}
    assert flags(first, "shimmy-browser") == plain
    assert flags(visitor.submit("/view-license", key=key), "shimmy-session") == plain
    visitor.open("/view-license")
    assert flags(visitor.submit("/sign-out"), "shimmy-session") == plain


def test_on_https_cookies_are_bound_to_the_host(store: Store, key: str) -> None:
    session = signed_in(store, key).client.cookies["shimmy-session"]

    async def look(door: Door) -> None:
        async with door.visitor(Accept="text/html") as visitor:
            first = await visitor.get("/pricing")
            proved = await visitor.post("/view-license", json={"key": key})
            out = await visitor.post("/sign-out", json={})
        secure = {"HttpOnly", "Path=/", "SameSite=lax", "Secure"}
        assert flags(first, "__Host-shimmy-browser") == secure
        assert flags(proved, "__Host-shimmy-session") == secure
        assert flags(out, "__Host-shimmy-session") == secure
        # A name that another host of the domain can set is not looked at.
        async with door.visitor(Cookie=f"shimmy-session={session}") as visitor:
            assert (await visitor.get("/view-license")).status_code == 401
        async with door.visitor(Cookie=f"__Host-shimmy-session={session}") as visitor:
            assert (await visitor.get("/view-license")).status_code == 200

    at_door(store, look, url=HTTPS)


def test_signing_out_forgets(store: Store, key: str) -> None:
    visitor = signed_in(store, key)
    page = visitor.open("/view-license")
    assert page.headers["cache-control"] == "no-store", "going back shows nothing either"
    out = visitor.submit("/sign-out")
    assert (out.status_code, out.headers["location"]) == (303, f"{store.url}/")
    assert "shimmy-session" not in visitor.client.cookies
    assert key not in visitor.open("/view-license").text
    visitor.client.headers["Accept"] = "*/*"
    for path in ("/create-portal-session", "/free-machine"):
        answer = visitor.client.post(path, json={"machine": "x"})
        assert (answer.status_code, answer.json()["code"]) == (401, "sign-in-needed")


def test_signing_in_takes_over_nothing_that_was_planted(store: Store, key: str) -> None:
    other = key_on(store.buy("developer", "planter@example.com").text)
    planter, victim = signed_in(store, other), store.visitor()
    planted = planter.client.cookies
    victim.client.cookies.set("shimmy-browser", planted["shimmy-browser"], domain="127.0.0.1")
    path = ask_for_link(store, victim, EMAIL)
    victim.client.cookies.set("shimmy-session", planted["shimmy-session"], domain="127.0.0.1")
    assert victim.open(path).status_code == 303
    assert key in victim.open("/view-license").text
    assert other not in victim.open("/view-license").text
    # Whoever planted the browser's value knows no more than before, not even with the used link.
    assert key not in planter.open("/view-license").text
    assert planter.open(path).status_code == 410
    assert key not in planter.open("/view-license").text


@pytest.mark.parametrize("planted", ["", "x", "A" * 42, "A" * 44, "é" * 43, '"' + "A" * 41 + '"'])
def test_a_browsers_value_that_is_none_of_ours_is_replaced(store: Store, planted: str) -> None:
    with program(store) as client:
        answer = client.get("/pricing", headers=[(b"Cookie", f"shimmy-browser={planted}".encode())])
    assert len(answer.cookies["shimmy-browser"]) == 43


def test_two_browsers_have_nothing_in_common(store: Store) -> None:
    values, tokens = set(), set()
    for _ in range(20):
        visitor = store.visitor()
        page = visitor.open("/view-license")
        values.add(visitor.client.cookies["shimmy-browser"])
        tokens.add(page.text.partition('name="csrf" value="')[2].partition('"')[0])
        assert visitor.client.cookies["shimmy-browser"] not in page.text
    assert len(values) == len(tokens) == 20


def test_no_page_says_how_a_session_is_wrong(store: Store, key: str) -> None:
    customer = customer_on(signed_in(store, key).open("/view-license").text)
    bodies = set()
    for session in ("", "x", written(customer, time.time(), secret=NEW), written(customer, 0)):
        with program(store, Cookie=f"shimmy-session={session}") as client:
            bodies.add(client.get("/view-license").text)
    assert len(bodies) == 1
