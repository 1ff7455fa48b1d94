"""What every answer says to browsers, and what no text of a visitor's can make of a page."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from store_server import Store, Visitor, key_on
from visiting import (
    Door,
    activate,
    ask_for_link,
    at_door,
    customer_on,
    form_token,
    offer_of_merge,
    program,
    signed_in,
)

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

EMAIL = "buyer@example.com"
EVIL = "evil.example"
MARKUP = "<img src=x onerror=alert(1)>\"'&</strong><script>alert(2)</script>"
TEMPLATES = Path(__file__).parents[1] / "src/shimmy_store/server/templates"
LOGO = (TEMPLATES / "logo.html").read_text()
PATHS = (
    "/",
    "/pricing",
    "/cancel",
    "/view-license",
    "/success",
    "/success?session_id=cs_test_unknown",
    "/sign-in?token=x",
    "/merge?token=x",
    "/buy?plan=developer",
    "/buy?plan=free",
    "/health",
    "/nowhere",
    "/assets/0/store.css",
    "/assets/0/nothing",
    "/create-checkout-session",
)


@pytest.fixture(scope="module")
def key(store: Store) -> str:
    return key_on(store.buy("developer", EMAIL).text)


@pytest.fixture(autouse=True)
def _a_new_period(store: Store, key: str) -> None:
    store.town.pass_time(minutes=10)


def everything_answered(store: Store, visitor: Visitor) -> list[httpx.Response]:
    """Pages, problems, redirects, JSON, assets; for people and for programs."""
    answers = [visitor.open(path) for path in PATHS]
    answers += [visitor.client.get(path, headers={"Accept": "*/*"}) for path in PATHS]
    answers += [visitor.client.head(path) for path in PATHS]
    answers += [visitor.client.request("PUT", path) for path in PATHS]
    asset = re.search(r'href="(/assets/[^"]+)"', visitor.open("/pricing").text)
    assert asset
    answers.append(visitor.open(asset[1]))
    answers.append(visitor.client.post("/view-license", data={"csrf": "wrong"}))
    answers.append(visitor.client.post("/view-license", content=b"x" * 70_000))
    answers.append(visitor.client.post("/stripe-webhook", content=b"x"))
    return answers


def test_every_answer_says_what_browsers_must_not_do(store: Store) -> None:
    for answer in everything_answered(store, store.visitor()):
        headers = answer.headers
        policy = dict(
            one.strip().partition(" ")[::2] for one in headers["content-security-policy"].split(";")
        )
        assert policy["default-src"] == "'none'"
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["form-action"] == f"'self' {store.town.payments.url}"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin", "tokens and ids go to no other site"
        assert "strict-transport-security" not in headers
        assert "server" not in headers
        assert "x-powered-by" not in headers


def test_https_stays_https(store: Store) -> None:
    async def look(door: Door) -> None:
        async with door.visitor(Accept="text/html") as visitor:
            for path in PATHS:
                answer = await visitor.get(path)
                kept = answer.headers["strict-transport-security"]
                assert int(kept.partition("max-age=")[2].partition(";")[0]) >= 31536000

    at_door(store, look, url="https://store.example")


def test_only_assets_are_kept_by_anybody(store: Store, key: str) -> None:
    visitor = store.visitor()
    bought = store.buy("developer", "kept@example.com", visitor)
    answers = [bought, visitor.open("/view-license")]
    told = {"Accept": "application/json"}
    answers += [visitor.client.get(path, headers=told) for path in ("/view-license", "/pricing")]
    back = str(bought.url).partition(store.url)[2]
    answers.append(visitor.client.get(back, headers=told))
    answers.append(visitor.client.post("/view-license", json={"key": key}, headers=told))
    answers.append(visitor.client.post("/sign-out", json={}))
    assert sum(key in one.text or key_on(bought.text) in one.text for one in answers) == 5
    answers += everything_answered(store, store.visitor())
    for answer in answers:
        if not answer.request.url.path.startswith("/assets"):
            assert answer.headers["cache-control"] == "no-store", answer.request.url


def test_an_asset_is_kept_only_under_the_address_of_its_content(store: Store) -> None:
    visitor = store.visitor()
    asset = re.search(r'src="(/assets/[^"]+)"', visitor.open("/pricing").text)
    assert asset
    assert "immutable" in visitor.open(asset[1]).headers["cache-control"]
    foreign = visitor.open("/assets/000000000000/store.js")
    assert (foreign.status_code, foreign.headers["cache-control"]) == (200, "no-store")
    for name in ("..%2fapp.py", "store.css%00", "%2e%2e", "store.css/", "../app.py"):
        assert visitor.open(f"/assets/0/{name}").status_code == 404


@pytest.mark.parametrize(
    "header",
    [
        {"Host": EVIL},
        {"Host": f"{EVIL}:80"},
        {"X-Forwarded-Host": EVIL, "X-Forwarded-Proto": "https"},
        {"Forwarded": f"host={EVIL};proto=https"},
        {"X-Original-URL": f"https://{EVIL}/", "X-Rewrite-URL": f"https://{EVIL}/"},
        {"Host": "["},
        {"Host": ""},
    ],
    ids=str,
)
def test_a_host_that_the_request_names_appears_nowhere(
    store: Store, key: str, header: dict[str, str]
) -> None:
    visitor = signed_in(store, key)
    visitor.client.headers.update(header)
    answers = [visitor.open(path) for path in PATHS]
    answers += [visitor.open(f"{path.partition('?')[0]}/") for path in PATHS[1:]]
    answers.append(visitor.client.post("/view-license", json={"key": key}))
    answers.append(visitor.client.post("/create-portal-session", json={}))
    answers.append(visitor.client.post("/sign-out", json={}))
    for answer in answers:
        assert EVIL not in answer.text
        assert EVIL not in str(answer.headers)
        assert_leads_home(store, answer)
        assert answer.status_code < 500
    path = ask_for_link(store, visitor, EMAIL)
    assert EVIL not in store.mail(EMAIL, path)
    assert f"{store.url}/sign-in?token=" in store.mail(EMAIL, path)


def assert_leads_home(store: Store, answer: httpx.Response) -> None:
    """To the store itself, or to Stripe's page."""
    location = answer.headers.get("location")
    if location is not None:
        place = urlsplit(location)
        assert f"{place.scheme}://{place.netloc}" in (store.url, store.town.payments.url)


@pytest.mark.parametrize(
    "path",
    [
        f"//{EVIL}",
        f"//{EVIL}/",
        f"/%5c{EVIL}/",
        f"//{EVIL}/pricing/",
        f"/pricing//{EVIL}",
        f"/https://{EVIL}/",
        f"/.{EVIL}",
        f"/buy?plan=developer&url=https://{EVIL}&success_url=https://{EVIL}&next=//{EVIL}",
        f"/view-license?next=https://{EVIL}&return_url=https://{EVIL}",
        f"/cancel?return=https://{EVIL}",
        f"/sign-in?token=x&redirect=https://{EVIL}",
    ],
)
def test_nothing_leads_to_another_site(store: Store, key: str, path: str) -> None:
    with httpx.Client(trust_env=False, headers={"Accept": "text/html"}) as client:
        request = httpx.Request("GET", store.url, extensions={"target": path.encode()})
        answer = client.send(request)
    assert_leads_home(store, answer)
    assert EVIL not in answer.text
    fields = {"url": f"https://{EVIL}", "next": f"//{EVIL}", "return_url": f"https://{EVIL}"}
    visitor = signed_in(store, key)
    for action in ("/create-checkout-session", "/create-portal-session", "/sign-out"):
        sent = {**fields, "csrf": form_token(visitor), "plan": "developer"}
        answer = visitor.client.post(action, data=sent)
        assert answer.status_code == 303
        assert_leads_home(store, answer)
    offered = store.town.sdk.v1.checkout.sessions.list({"limit": 1}).data[0]
    assert offered.success_url.startswith(store.url)
    assert offered.cancel_url.startswith(store.url)


class Tags(HTMLParser):
    """The tags of a page, and what is suspicious about them."""

    def __init__(self, page: str, *, mailed: bool = False) -> None:
        super().__init__()
        self.found: list[str] = []
        # Mail programs read styles nowhere else than in the tags.
        self._mailed = mailed
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {name: value or "" for name, value in attrs}
        wrong = tag in ("img", "iframe", "base", "style", "object")
        wrong |= tag == "svg" and (self.get_starttag_text() or "") not in LOGO
        wrong |= tag == "script" and not names.get("src", "").startswith("/assets/")
        wrong |= any(name.startswith("on") for name in names)
        wrong |= "style" in names and not self._mailed
        wrong |= names.get("href", "/").lower().startswith(("javascript:", "data:"))
        if wrong:
            self.found.append(self.get_starttag_text() or tag)

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and data.strip():
            self.found.append(data)


def test_the_witness_of_markup_sees_it() -> None:
    assert Tags(MARKUP).found
    assert Tags('<a href="JavaScript:alert(1)">').found
    assert Tags("<svg>").found
    assert not Tags(LOGO).found
    assert not Tags(MARKUP.replace("<", "&lt;")).found


def test_the_store_has_the_sites_mark() -> None:
    site = Path(__file__).parents[3] / "site"
    assert (site / "templates/parts/logo.html").read_text() == LOGO
    icon = TEMPLATES.parent / "assets/favicon.svg"
    assert (site / "assets/favicon.svg").read_bytes() == icon.read_bytes()


def test_names_and_addresses_are_text_on_every_page_and_in_every_mail(store: Store) -> None:
    email = "o'b&x@example.com"
    visitor = store.visitor()
    key = key_on(store.buy("startup", email, visitor).text)
    store.buy("developer", email)
    customer = customer_on(visitor.open("/view-license").text)
    store.town.sdk.v1.customers.update(customer, {"name": MARKUP, "description": MARKUP})
    activate(store, key, MARKUP, platform=f"linux {MARKUP}")
    pages = [visitor.open("/view-license")]
    assert MARKUP.partition(" ")[0].replace("<", "&lt;") in pages[0].text
    path = ask_for_link(store, store.visitor(), email)
    pages += [visitor.open(offer_of_merge(store, email)), visitor.open(path)]
    other = store.visitor()
    other.open("/view-license")
    pages.append(other.submit("/view-license", email=f'"{email}'))
    assert "&#34;o&#39;b&amp;x@example.com" in pages[-1].text
    for answer in pages:
        assert not Tags(answer.text).found
    mails = store.mails(email)
    assert len(mails) >= 3
    for mail in mails:
        assert not Tags(mail["html"], mailed=True).found
        assert mail["to"] == [email] or email in str(mail["to"])
        assert MARKUP not in mail["text"]


def test_what_a_visitor_sends_is_not_repeated_as_markup(store: Store) -> None:
    visitor = store.visitor()
    token = form_token(visitor)
    answers = [
        visitor.client.get(path, params={name: MARKUP})
        for path, name in (
            ("/buy", "plan"),
            ("/success", "session_id"),
            ("/sign-in", "token"),
            ("/merge", "token"),
            ("/cancel", "x"),
            (f"/{MARKUP}", "x"),
        )
    ]
    for field in ("email", "key", "plan", "token", "machine", "customer", "attempt"):
        for path in ("/view-license", "/create-checkout-session", "/merge"):
            sent = {"csrf": token, field: MARKUP}
            answers.append(visitor.client.post(path, data=sent))
        store.town.pass_time(minutes=10)
    headers = {"User-Agent": MARKUP, "Referer": MARKUP, "Accept-Language": MARKUP}
    answers.append(visitor.client.get("/nowhere", headers=headers))
    for answer in answers:
        assert answer.status_code < 500
        assert "alert(1)" not in answer.text
        assert not Tags(answer.text).found


@pytest.mark.parametrize(
    "address",
    [
        f"{EMAIL}\r\nBcc: spy@evil.example",
        f"{EMAIL}\nSubject: x",
        f"{EMAIL}\r",
        "\r\n.\r\nRCPT TO:<spy@evil.example>@example.com",
        f"{EMAIL}, spy@evil.example",
        f"{EMAIL} <spy@evil.example>",
        f"<{EMAIL}>",
        f"Ada <{EMAIL}>",
        f"{EMAIL}\u2028Bcc: x",
        f"{EMAIL}\x00",
        "no-address",
        "a@b@c",
        "@",
        "a" * 250 + "@example.com",
        "mailto:a@b.example?bcc=spy@evil.example",
    ],
)
def test_an_address_field_is_an_address_and_nothing_more(store: Store, address: str) -> None:
    before = len(store.mails("spy@evil.example"))
    visitor = store.visitor()
    sent = {"csrf": form_token(visitor), "email": address}
    answer = visitor.client.post("/view-license", data=sent)
    with program(store) as client:
        told = client.post("/view-license", json={"email": address})
    if address.strip() == EMAIL:
        assert (answer.status_code, told.status_code) == (202, 202)
        return
    assert (answer.status_code, told.status_code) == (422, 422)
    assert told.json()["code"] == "address-malformed"
    assert address.strip() not in told.text
    assert len(store.mails("spy@evil.example")) == before
