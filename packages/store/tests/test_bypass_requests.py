"""Ways around the store by HTTP that no other file tries, each with its name.

docs/security.md lists these and the ones that stand elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from operating import OPERATOR_TOKEN
from store_server import Store, Visitor, eventually, key_on, open_store
from town import NO_TLS
from visiting import (
    POSTS,
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

from shimmy_store.server.app import create_app
from shimmy_store.wiring import open_shop

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

EVIL = "evil.example"
OWN, OTHER = "own@example.com", "other@example.com"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("store")
    with open_store(folder, operator_tokens=(OPERATOR_TOKEN,)) as opened:
        yield opened


@pytest.fixture(scope="module")
def own(store: Store) -> str:
    return key_on(store.buy("developer", OWN).text)


@pytest.fixture(scope="module")
def theirs(store: Store) -> dict[str, str]:
    """Every name by which something of somebody else could be asked for."""
    visitor = store.visitor()
    page = store.buy("startup", OTHER, visitor)
    key = key_on(page.text)
    machine = activate(store, key, "Their machine")
    customer = customer_on(visitor.open("/view-license").text)
    smaller = key_on(store.buy("developer", OTHER).text)
    licence = store.town.ask("customer", customer).origin
    return {
        "key": key,
        "smaller": smaller,
        "machine": machine,
        "customer": customer,
        "licence": str(licence),
        "merge": offer_of_merge(store, OTHER).partition("token=")[2],
        "browser": visitor.client.cookies["shimmy-browser"],
        "session": visitor.client.cookies["shimmy-session"],
    }


@pytest.fixture(autouse=True)
def _a_new_period(store: Store, own: str, theirs: dict[str, str]) -> None:
    store.town.pass_time(minutes=10)


def raw_get(store: Store, target: str | bytes, *headers: tuple[str, str]) -> httpx.Response:
    """A target as it is spelled, which no client tidies up."""
    spelled = target.encode() if isinstance(target, str) else target
    with httpx.Client(trust_env=False, verify=NO_TLS, timeout=30) as client:
        request = httpx.Request(
            "GET", store.url, headers=list(headers), extensions={"target": spelled}
        )
        return client.send(request)


# A new address must say here what a stranger gets there, and with which of somebody's names.
AS_A_STRANGER = {
    ("GET", "/"): 200,
    ("GET", "/pricing"): 200,
    ("GET", "/buy"): 404,
    ("GET", "/success"): 404,
    ("GET", "/cancel"): 200,
    ("GET", "/view-license"): 401,
    ("GET", "/sign-in"): 404,
    ("GET", "/merge"): 404,
    ("GET", "/alive"): 200,
    ("GET", "/ready"): 200,
    ("GET", "/health"): 200,
    ("GET", "/metrics"): 200,
    ("GET", "/assets/{digest}/{name}"): 404,
    ("POST", "/create-checkout-session"): 404,
    ("POST", "/create-portal-session"): 401,
    ("POST", "/free-machine"): 401,
    ("POST", "/merge"): 404,
    ("POST", "/sign-out"): 200,
    ("POST", "/stripe-webhook"): 400,
    ("POST", "/view-license"): 422,
}


def addresses(store: Store) -> set[tuple[str, str]]:
    routes: list[Any] = list(create_app(store.settings, open_shop).routes)
    return {(way, one.path) for one in routes for way in one.methods - {"HEAD"}}


def test_every_address_says_what_a_stranger_gets(store: Store, theirs: dict[str, str]) -> None:
    found = addresses(store)
    assert {one for one in found if not one[1].startswith("/operator/")} == set(AS_A_STRANGER)
    with program(store) as client:
        for way, path in sorted(found):
            answer = client.request(way, path, json=None if way == "GET" else {})
            status = 401 if path.startswith("/operator/") else AS_A_STRANGER[way, path]
            assert answer.status_code == status, (way, path)
            for name in theirs.values():
                assert name not in answer.text


# Field or parameter, and by which of somebody else's names it could be asked.
FOREIGN = [
    ("POST", "/create-portal-session", "customer", ("customer", "licence", "key")),
    ("POST", "/free-machine", "machine", ("machine", "licence", "key")),
    ("POST", "/create-checkout-session", "customer", ("customer",)),
    ("POST", "/create-checkout-session", "attempt", ("customer", "licence")),
    ("POST", "/merge", "token", ("customer", "licence", "session", "browser", "key")),
    ("POST", "/view-license", "key", ("customer", "licence", "machine", "session", "browser")),
    ("GET", "/view-license", "customer", ("customer", "licence", "key")),
    ("GET", "/view-license", "licence", ("licence", "key")),
    ("GET", "/success", "session_id", ("customer", "licence", "session", "key")),
    ("GET", "/sign-in", "token", ("merge", "session", "browser", "customer", "licence")),
    ("GET", "/merge", "token", ("session", "browser", "customer", "licence")),
    ("GET", "/buy", "customer", ("customer",)),
]


@pytest.mark.parametrize(
    ("way", "path", "field", "name"),
    [(way, path, field, one) for way, path, field, names in FOREIGN for one in names],
)
def test_somebody_elses_names_open_nothing(
    store: Store, own: str, theirs: dict[str, str], way: str, path: str, field: str, name: str
) -> None:
    visitor = signed_in(store, own)
    mine = customer_on(visitor.open("/view-license").text)
    visitor.client.headers["Accept"] = "*/*"
    sent = {field: theirs[name], "plan": "professional"}
    asked, told = (sent, None) if way == "GET" else (None, sent)
    answer = visitor.client.request(way, path, params=asked, json=told)
    text = f"{answer.text} {answer.headers}"
    for secret in ("key", "smaller", "machine", "customer", "session"):
        assert theirs[secret] not in text
    if path in ("/buy", "/create-checkout-session"):
        # Somebody who pays already is led to the portal: to their own.
        url = answer.headers.get("location") or answer.json()["url"]
        opened = store.town.browser.get(url, follow_redirects=True).text
        assert str(store.town.ask("customer", mine).origin) in opened
        assert theirs["licence"] not in opened
    elif not answer.is_success:
        assert answer.status_code in (401, 403, 404, 422), answer.text
    them = signed_in(store, theirs["key"]).open("/view-license").text
    assert theirs["machine"] in them
    assert theirs["customer"] in them


@pytest.mark.parametrize("place", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_no_header_makes_another_method(store: Store, own: str, place: str) -> None:
    visitor = signed_in(store, own)
    for path in POSTS:
        answer = visitor.client.get(path, headers={place: "POST"})
        assert answer.status_code in (200, 404, 405)
        assert "shimmy-session" not in answer.headers.get("set-cookie", "")
        told = visitor.client.post(path, data={"_method": "GET"}, headers={place: "GET"})
        assert told.status_code == 403, "a form of ours still wants its token"
    assert own in visitor.open("/view-license").text


def test_what_is_written_for_a_method_stands_in_no_log(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"), program(store) as client:
        assert client.request("A-KEY-OF-SOMEBODY", "/pricing").status_code == 405
        assert client.request("PROPFIND", "/pricing").status_code == 405

        def written() -> list[Any] | None:
            # The test's own client and server write lines as well; the store's have fields.
            told = [one.fields for one in caplog.records if hasattr(one, "fields")]
            return told if [one.get("method") for one in told].count("other") == 2 else None

        # A line is written after its answer.
        told = eventually(written)
    assert "A-KEY" not in str(told)


PATHS = {
    "the operator's address in capitals": "/OPERATOR/alarms",
    "two slashes before the operator's address": "//operator/alarms",
    "two slashes within it": "/operator//alarms",
    "a slash behind it": "/operator/alarms/",
    "a dot within it": "/operator/./alarms",
    "a way through an open address": "/pricing/../operator/alarms",
    "the same, encoded": "/pricing/%2e%2e/operator/alarms",
    "the same, with an encoded slash": "/pricing%2f..%2foperator/alarms",
    "the same, encoded twice": "/pricing/%252e%252e/operator/alarms",
    "a parameter within the path": "/operator;x=1/alarms",
    "a backslash": "/operator\\alarms",
    "an encoded backslash": "/pricing/..%5coperator%5calarms",
    "a tab within it": "/operator%09/alarms",
    "a NUL behind it": "/operator/alarms%00",
    "a suffix that proxies keep": "/operator/alarms.css",
    "the licence page as a style sheet": "/view-license/x.css",
    "the licence page as a style sheet, by a parameter": "/view-license;x.css",
    "the licence page as a style sheet, by an encoded mark": "/view-license%3fx.css",
    "out of the assets": "/assets/0/..%2f..%2f..%2fapp.py",
    "out of the assets, by backslashes": "/assets/0/..%5c..%5capp.py",
    "out of the assets, in the digest": "/assets/..%2f../store.css",
    "out of the assets, to the system": "/assets/0/%2fetc%2fpasswd",
    "out of the assets, in an overlong spelling": "/assets/0/%c0%ae%c0%ae%c0%afapp.py",
    "an asset with a NUL in its name": "/assets/0/store.css%00.py",
    "a template for an asset": "/assets/0/base.html",
}


@pytest.mark.parametrize("name", PATHS)
def test_no_spelling_of_a_path_leads_around(store: Store, own: str, name: str) -> None:
    session = signed_in(store, own).client.cookies["shimmy-session"]
    answer = raw_get(store, PATHS[name], ("Cookie", f"shimmy-session={session}"))
    assert answer.status_code in (400, 404), name
    assert own not in answer.text
    assert answer.headers.get("cache-control", "no-store") == "no-store"
    assert "location" not in answer.headers
    with_token = raw_get(store, PATHS[name], ("X-Original-URL", "/operator/alarms"))
    assert with_token.status_code in (400, 404)


def test_the_encoded_spelling_of_an_address_is_the_same_address(store: Store) -> None:
    """A proxy that looks for the plain one must decode first; docs/security.md says so."""
    assert raw_get(store, "/%6fperator/alarms").status_code == 401


NEXT = [
    f"//{EVIL}",
    f"/\\{EVIL}",
    f"\\\\{EVIL}",
    f"https:{EVIL}",
    f"https://127.0.0.1@{EVIL}/",
    f"https://127.0.0.1.{EVIL}/",
    f"/%09/{EVIL}",
    f"/%0d%0aLocation:%20https://{EVIL}",
    f"https://{EVIL}%E3%80%82com/",
    "javascript:alert(1)",
    "data:text/html,x",
]


@pytest.mark.parametrize("target", NEXT)
def test_no_parameter_leads_elsewhere(store: Store, own: str, target: str) -> None:
    visitor = store.visitor()
    path = ask_for_link(store, visitor, OWN)
    names = ("next", "url", "redirect", "return_url", "return_to", "continue", "success_url", "to")
    query = "&".join(f"{name}={target}" for name in names)
    answers = [
        raw_get(store, f"{page}?plan=developer&{query}") for page in ("/buy", "/cancel", "/pricing")
    ]
    answers.append(visitor.open(f"{path}&{query}"))
    fields = {**dict.fromkeys(names, target), "csrf": form_token(visitor), "plan": "developer"}
    answers += [visitor.client.post(one, data=fields) for one in ("/sign-out", "/view-license")]
    for answer in answers:
        assert EVIL not in answer.headers.get("location", "")
        assert "alert" not in answer.headers.get("location", "")
        assert EVIL not in answer.text
        where = answer.headers.get("location", store.url)
        assert where.startswith((store.url, store.town.payments.url))


UNSIGNED = base64.urlsafe_b64encode(b'[["cus_1"],9e9]').decode()


def cookies(store: Store, *pairs: str) -> httpx.Response:
    with program(store) as client:
        return client.get("/view-license", headers=[(b"Cookie", "; ".join(pairs).encode())])


def test_of_two_sessions_in_one_request_one_counts_and_they_never_mix(
    store: Store, own: str, theirs: dict[str, str]
) -> None:
    mine = signed_in(store, own).client.cookies["shimmy-session"]
    other = signed_in(store, theirs["key"]).client.cookies["shimmy-session"]
    for first, second in ((mine, other), (other, mine)):
        shown = cookies(store, f"shimmy-session={first}", f"shimmy-session={second}").text
        assert (own in shown) != (theirs["key"] in shown)
    head, _, tail = mine.rpartition(".")
    _, _, foreign = other.rpartition(".")
    spliced = {
        "one's data under another's signature": f"{head}.{foreign}",
        "two sessions in one": f"{mine},{other}",
        "a session within quotes that are none": f'"{mine}',
        "a session cut in half": mine[: len(mine) // 2],
        "a signature cut by one sign": mine[:-1],
        "a second signature behind it": f"{mine}.{tail}",
        "another base64 alphabet": mine.replace("-", "+").replace("_", "/") + "+",
        "compressed data that nobody signed": "." + head + "." + tail,
        "JSON that nobody signed": f"{UNSIGNED}.{tail}",
        "no algorithm, as of a JWT": "eyJhbGciOiJub25lIn0." + head.partition(".")[0] + ".",
        "nothing but the signature": f".{tail}",
        "a NUL behind it": f"{mine}\\000",
    }  # fmt: skip
    for name, session in spliced.items():
        answer = cookies(store, f"shimmy-session={session}")
        assert answer.status_code == 401, name


def test_a_forged_session_beside_a_real_one_gives_nothing_more(store: Store, own: str) -> None:
    mine = signed_in(store, own).client.cookies["shimmy-session"]
    for pairs in (("x", mine), (mine, "x")):
        answer = cookies(store, *(f"shimmy-session={one}" for one in pairs))
        assert answer.status_code in (200, 401)
        assert "shimmy-session" not in answer.headers.get("set-cookie", "")


def test_whoever_planted_a_browsers_value_cannot_send_its_forms_elsewhere(
    store: Store, own: str, theirs: dict[str, str]
) -> None:
    """The form's token is of the browser's value, and no good in a browser with another one."""
    victim, planter = signed_in(store, own), store.visitor()
    token = form_token(planter)
    planted = planter.client.cookies["shimmy-browser"]
    both = f"shimmy-browser={victim.client.cookies['shimmy-browser']}; shimmy-browser={planted}"
    with program(store, Cookie=both) as client:
        answer = client.post("/free-machine", data={"csrf": token, "machine": theirs["machine"]})
    assert answer.status_code in (401, 403)


@pytest.mark.parametrize("referrer", [f"https://{EVIL}/", "", "http://127.0.0.1.evil.example/"])
@pytest.mark.parametrize("path", POSTS)
def test_a_form_that_hides_its_origin_still_wants_the_token(
    store: Store, own: str, path: str, referrer: str
) -> None:
    visitor = signed_in(store, own)
    headers = {"Referer": referrer} if referrer else {}
    fields = {"plan": "developer", "key": own, "machine": "x", "token": "x"}
    answer = visitor.client.post(path, data=fields, headers=headers)
    assert (answer.status_code, "form-expired" in answer.text) == (403, True)
    assert own in visitor.open("/view-license").text


TYPED = {
    "a line end in percent signs": f"{OTHER}%0d%0aBcc: spy@{EVIL}",
    "a next line sign": f"{OTHER}\u0085Bcc: spy@{EVIL}",
    "a paragraph sign": f"{OTHER}\u2029Bcc: spy@{EVIL}",
    "a vertical tab": f"{OTHER}\x0bBcc:spy@{EVIL}",
    "a form feed": f"{OTHER}\x0cBcc:spy@{EVIL}",
    "a sign that turns the text": f"\u202e{OTHER}",
    "a sign of no width": f"\u200b{OTHER}",
    "two addresses and a semicolon": f"{OTHER};spy@{EVIL}",
    "a route": f"@{EVIL}:{OTHER}",
    "a comment": f"{OTHER}(spy@{EVIL})",
    "an encoded word": f"=?utf-8?q?{OTHER}=0d=0aBcc:spy@{EVIL}?=",
    "an option of a mail program": f"-oQ/tmp/x {OTHER}",
}


@pytest.mark.parametrize("name", TYPED)
def test_no_typed_address_reaches_a_mailbox_but_the_customers(store: Store, name: str) -> None:
    store.settle()
    before = len(store.mails(OTHER))
    with program(store) as client:
        answer = client.post("/view-license", json={"email": TYPED[name]})
    assert answer.status_code in (202, 422)
    last = store.visitor()
    ask_for_link(store, last, OWN)
    assert store.mails(f"spy@{EVIL}") == []
    assert len(store.mails(OTHER)) == before, "what comes after it in the outbox has arrived"


def test_known_and_unknown_addresses_are_refused_alike_once_there_are_too_many(
    store: Store,
) -> None:
    async def ask(door: Door) -> list[list[tuple[int, str]]]:
        told = []
        for number, email in enumerate((OTHER, "nobody@example.com")):
            async with door.visitor(f"198.51.100.{number}") as visitor:
                answers = [
                    await visitor.post("/view-license", json={"email": one})
                    for one in (email, email.upper(), f" {email} ", email, email, email)
                ]
            told.append([(one.status_code, one.text) for one in answers])
        return told

    known, unknown = at_door(store, ask)
    assert known == unknown
    assert {status for status, _ in known} == {202, 429}


def visitor_of(store: Store, theirs: dict[str, str], names: tuple[str, ...]) -> Visitor:
    visitor = store.visitor()
    for name in names:
        visitor.client.cookies.set(f"shimmy-{name}", theirs[name], domain="127.0.0.1")
    return visitor


def test_a_link_opens_nothing_in_the_browser_of_whoever_saw_it(
    store: Store, own: str, theirs: dict[str, str]
) -> None:
    """Not with another's session, nor with the digest of the browser's value for the value."""
    asker = store.visitor()
    path = ask_for_link(store, asker, OWN)
    value = asker.client.cookies["shimmy-browser"]
    digest = hashlib.sha256(f"link {value}".encode()).hexdigest()
    for names in (("session",), ("browser",), ("session", "browser")):
        assert visitor_of(store, theirs, names).open(path).status_code == 403
    for planted in (digest, digest[:43], value.swapcase(), value[::-1]):
        spy = store.visitor()
        spy.client.cookies.set("shimmy-browser", planted, domain="127.0.0.1")
        answer = spy.open(path)
        assert answer.status_code == 403
        assert own not in answer.text
    assert asker.open(path).status_code == 303, "none of that used it up"
