"""What every request has: keys, idempotency, errors, unknown parameters, lists, expansion."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import pytest
import stripe
from hypothesis import given, settings
from hypothesis import strategies as st

from shimmy_sandbox.stripe_api.forms import form_pairs, parse_form
from shimmy_sandbox.stripe_api.identity import API_VERSION
from shimmy_sandbox.stripe_api.parameters import checked
from shimmy_sandbox.stripe_api.wire import RefusalError

from .conftest import Shop, opened, sdk_of


def ask(shop: Shop, method: str, path: str, **sent: Any) -> httpx.Response:
    """A raw request with the right key."""
    headers = {"Authorization": f"Bearer {shop.server.api_key}", **sent.pop("headers", {})}
    return shop.browser.request(method, f"/v1/{path}", headers=headers, **sent)


@pytest.mark.parametrize("key", ["sk_live_abc", "rk_live_abc", "pk_live_abc"])
def test_live_keys_are_refused_loudly(shop: Shop, key: str) -> None:
    with sdk_of(shop.server, key) as sdk, pytest.raises(stripe.AuthenticationError) as refused:
        sdk.v1.customers.list()
    assert "LIVE KEY" in str(refused.value)
    assert key not in str(refused.value)


def test_wrong_keys_are_refused(shop: Shop) -> None:
    for authorization in ("", "Bearer sk_test_other", "Digest x", "Basic !", "Bearer"):
        reply = shop.browser.get("/v1/customers", headers={"Authorization": authorization})
        assert reply.status_code == 401, authorization
        assert reply.json()["error"]["type"] == "invalid_request_error"
        assert reply.headers["request-id"].startswith("req_")
    publishable = {"Authorization": f"Bearer {shop.server.publishable_key}"}
    reply = shop.browser.get("/v1/customers", headers=publishable)
    assert reply.json()["error"]["code"] == "secret_key_required"


def test_basic_auth_and_versions(shop: Shop) -> None:
    auth = (shop.server.api_key, "")
    assert shop.browser.get("/v1/customers", auth=auth).status_code == 200
    reply = ask(shop, "GET", "customers", headers={"Stripe-Version": "2020-08-27"})
    assert reply.status_code == 400
    assert API_VERSION in reply.json()["error"]["message"]
    assert ask(shop, "GET", "customers").headers["stripe-version"] == API_VERSION


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "balance"), ("POST", "subscriptions"), ("PUT", "customers/cus_1"), ("GET", "x/y/z")],
)
def test_what_is_not_simulated_is_not_found(shop: Shop, method: str, path: str) -> None:
    reply = ask(shop, method, path)
    assert reply.status_code == 404
    assert "Unrecognized request URL" in reply.json()["error"]["message"]


REFUSED: list[tuple[str, dict[str, str], str, str]] = [
    ("customers", {"nome": "x"}, "parameter_unknown", "nome"),
    ("customers", {"shipping[name]": "x", "shipping[address][town]": "y"}, "parameter_unknown",
     "shipping[address][town]"),
    ("customers", {"shipping[name]": "x"}, "parameter_missing", "shipping[address]"),
    ("products", {}, "parameter_missing", "name"),
    ("prices", {"currency": "usd", "product": "p", "unit_amount": "1.5"},
     "parameter_invalid_integer", "unit_amount"),
    ("prices", {"currency": "usd", "product": "p", "unit_amount": ""},
     "parameter_invalid_empty", "unit_amount"),
    ("customers", {"email": "nobody"}, "email_invalid", "email"),
    ("refunds", {}, "parameter_missing", "charge"),
    ("refunds", {"payment_intent": "pi_none"}, "resource_missing", "payment_intent"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "form", "code", "param"), REFUSED, ids=[
    f"{one[0]}-{one[3]}" for one in REFUSED
])  # fmt: skip
def test_refusals_name_code_and_parameter(
    shop: Shop, path: str, form: dict[str, str], code: str, param: str
) -> None:
    reply = ask(shop, "POST", path, data=form)
    error = reply.json()["error"]
    assert reply.status_code == 400
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)


def test_what_stripe_knows_and_we_do_not_is_said_so(shop: Shop) -> None:
    error = ask(shop, "POST", "customers", data={"balance": "5"}).json()["error"]
    assert "not simulated" in error["message"]
    assert error["param"] == "balance"


def test_bodies_are_forms(shop: Shop) -> None:
    assert ask(shop, "POST", "customers", json={"name": "x"}).status_code == 400
    for body in ("a[b=1", "a=1&a[b]=2", "a[b]=1&a=2", "[x]=1", "name=%FF", "&".join(
        ["a" + "[b]" * 40 + "=1"]
    )):  # fmt: skip
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        reply = ask(shop, "POST", "customers", content=body, headers=headers)
        assert reply.status_code == 400, body
        assert reply.json()["error"]["type"] == "invalid_request_error"


NAMES = st.text("abcdefgh_", min_size=1, max_size=8)
VALUES = st.recursive(
    st.text(max_size=8),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(NAMES, inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_forms_are_read_back(value: dict[str, Any]) -> None:
    text = str(httpx.QueryParams(list(form_pairs(value))))
    assert parse_form(text) == value


@given(st.text(max_size=60))
def test_no_form_does_more_than_be_refused(text: str) -> None:
    try:
        given_values = parse_form(text)
        checked("POST customers", given_values)
    except (RefusalError, UnicodeDecodeError):
        return


def test_objects_that_are_not_there(shop: Shop) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.customers.retrieve("cus_none")
    assert refused.value.http_status == 404
    assert refused.value.code == "resource_missing"
    assert refused.value.user_message == "No such customer: 'cus_none'"
    product = shop.v1.products.create({"name": "x"})
    with pytest.raises(stripe.InvalidRequestError, match="No such price"):
        shop.v1.prices.retrieve(product.id)


# Idempotency


def test_a_key_replays_status_and_body(shop: Shop) -> None:
    headers = {"Idempotency-Key": "once"}
    first = ask(shop, "POST", "customers", data={"name": "Ada"}, headers=headers)
    again = ask(shop, "POST", "customers", data={"name": "Ada"}, headers=headers)
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["original-request"] == first.headers["request-id"]
    assert again.headers["request-id"] != first.headers["request-id"]
    assert len(shop.v1.customers.list().data) == 1
    other = ask(shop, "POST", "customers", data={"name": "Eve"}, headers=headers)
    assert (other.status_code, other.json()["error"]["type"]) == (400, "idempotency_error")
    path = ask(shop, "POST", "products", data={"name": "Ada"}, headers=headers)
    assert path.json()["error"]["type"] == "idempotency_error"
    shop.advance(hours=24)
    later = ask(shop, "POST", "customers", data={"name": "Eve"}, headers=headers)
    assert later.status_code == 200


def test_keys_remember_refusals_of_the_work_but_not_of_the_parameters(shop: Shop) -> None:
    data = {"product": "later", "currency": "usd", "unit_amount": "1"}
    headers = {"Idempotency-Key": "price"}
    assert ask(shop, "POST", "prices", data=data, headers=headers).status_code == 400
    shop.v1.products.create({"id": "later", "name": "Later"})
    again = ask(shop, "POST", "prices", data=data, headers=headers)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (400, "true")
    headers = {"Idempotency-Key": "unknown"}
    assert ask(shop, "POST", "prices", data={"x": "1"}, headers=headers).status_code == 400
    assert ask(shop, "POST", "prices", data=data, headers=headers).status_code == 200
    long = {"Idempotency-Key": "k" * 256}
    assert ask(shop, "POST", "prices", data=data, headers=long).status_code == 400


@pytest.mark.parametrize(("kind", "made"), [("api-error", 0), ("api-error-after", 1)])
def test_a_500_is_replayed_too(shop: Shop, kind: str, made: int) -> None:
    shop.control("answers", {"kind": kind, "path": "customers"})
    headers = {"Idempotency-Key": "broken"}
    for _ in range(2):
        reply = ask(shop, "POST", "customers", data={"name": "Ada"}, headers=headers)
        assert (reply.status_code, reply.json()["error"]["type"]) == (500, "api_error")
    assert len(shop.v1.customers.list().data) == made


def test_a_lock_timeout_is_retried_by_the_sdk(shop: Shop) -> None:
    shop.control("answers", {"kind": "lock-timeout", "times": 1})
    with sdk_of(shop.server, retries=2) as sdk:
        assert sdk.v1.customers.create({"name": "Ada"}).name == "Ada"
    assert len(shop.v1.customers.list().data) == 1
    assert shop.browser.post("/_sim/answers", json={"kind": "smile"}).status_code == 400


def test_a_key_in_use_is_a_conflict(shop: Shop) -> None:
    # Long enough for the last of them to come while the first is thought about, on busy cores too.
    shop.control("thinking", {"seconds": 1.5})
    replies: list[httpx.Response] = []

    def send() -> None:
        headers = {"Idempotency-Key": "both"}
        replies.append(ask(shop, "POST", "customers", data={"name": "Ada"}, headers=headers))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shop.control("thinking", {"seconds": 0})
    assert sorted(reply.status_code for reply in replies) == [200, *[409] * 5]
    conflict = next(reply for reply in replies if reply.status_code == 409).json()["error"]
    assert (conflict["type"], conflict["code"]) == ("idempotency_error", "idempotency_key_in_use")
    assert len(shop.v1.customers.list().data) == 1
    send()
    assert replies[-1].headers["idempotent-replayed"] == "true"


def test_the_sdk_retries_over_a_lost_reply(shop: Shop) -> None:
    fault = {"kind": "no-reply", "path": "/v1/customers", "method": "POST"}
    shop.control("faults", fault)
    with sdk_of(shop.server, retries=2) as sdk:
        made = sdk.v1.customers.create({"name": "Ada"})
    assert [one.id for one in shop.v1.customers.list()] == [made.id]


def test_the_async_client(shop: Shop) -> None:
    async def work() -> Any:
        transport: Any = stripe.HTTPXClient(timeout=30)
        client: Any = stripe.StripeClient(
            shop.server.api_key, base_addresses={"api": shop.server.url}, http_client=transport
        )
        try:
            made = await client.v1.customers.create_async({"email": "a@example.com"})
            return made.id, await client.v1.customers.retrieve_async(made.id)
        finally:
            await transport.close_async()

    identifier, found = asyncio.run(work())
    assert found.id == identifier


# Lists


@settings(max_examples=25)
@given(limit=st.integers(1, 6), after=st.integers(0, 6), data=st.data())
def test_pages_cover_everything_once(limit: int, after: int, data: Any) -> None:
    shop, known = paging_shop()
    forward = list(shop.v1.products.list({"limit": limit}).auto_paging_iter())
    assert [one.id for one in forward] == known
    page = shop.v1.products.list({"limit": limit, "starting_after": known[after]})
    assert [one.id for one in page] == known[after + 1 : after + 1 + limit]
    assert page.has_more is (after + 1 + limit < len(known))
    page = shop.v1.products.list({"limit": limit, "ending_before": known[after]})
    assert [one.id for one in page] == known[max(after - limit, 0) : after]
    assert page.has_more is (after > limit)


HELD: list[Any] = []


def paging_shop() -> tuple[Shop, list[str]]:
    """One simulator with seven products for all examples."""
    if not HELD:
        context = opened()
        shop = context.__enter__()
        made = [shop.v1.products.create({"name": str(number)}).id for number in range(7)]
        HELD.extend([context, shop, made[::-1]])
    return HELD[1], HELD[2]


@pytest.fixture(scope="module", autouse=True)
def _closing() -> Any:
    yield
    if HELD:
        HELD[0].__exit__(None, None, None)
        HELD.clear()


def test_lists_refuse_what_makes_no_sense(shop: Shop) -> None:
    product = shop.v1.products.create({"name": "x"}).id
    for wrong in ({"limit": 0}, {"limit": 101}, {"starting_after": "prod_none"},
                  {"starting_after": product, "ending_before": product}, {"pages": 2}):  # fmt: skip
        with pytest.raises(stripe.InvalidRequestError):
            shop.v1.products.list(wrong)


def test_lists_by_time_of_creation(shop: Shop) -> None:
    first = shop.v1.products.create({"name": "first"})
    shop.advance(hours=1)
    second = shop.v1.products.create({"name": "second"})
    created = {"gt": first.created, "lte": second.created}
    assert [one.name for one in shop.v1.products.list({"created": created})] == ["second"]
    exact = shop.v1.products.list({"created": first.created})
    assert [one.name for one in exact] == ["first"]
    assert shop.v1.products.list({"created": {"lt": first.created}}).data == []


# Expansion


def test_expanding_four_levels_and_no_more(shop: Shop) -> None:
    subscription = shop.subscribe(shop.price())
    expand = ["latest_invoice.parent.subscription_details.subscription", "customer"]
    found = shop.v1.subscriptions.retrieve(subscription.id, {"expand": expand})
    assert found.latest_invoice.parent.subscription_details.subscription.id == subscription.id
    assert found.customer.email == "ada@example.com"
    listed = shop.v1.subscriptions.list(
        {"expand": ["data.customer", "data.items.data.price.product"]}
    )
    assert listed.data[0].customer.object == "customer"
    assert listed.data[0]["items"].data[0].price.product.name == "Developer"
    for wrong in ("a.b.c.d.e", "status", "nothing", "customer.nothing"):
        with pytest.raises(stripe.InvalidRequestError, match="expand"):
            shop.v1.subscriptions.retrieve(subscription.id, {"expand": [wrong]})
    customer = shop.v1.customers.retrieve(
        subscription.customer, {"expand": ["subscriptions", "sources", "tax_ids"]}
    )
    assert [one.id for one in customer.subscriptions.data] == [subscription.id]
    assert "subscriptions" not in shop.v1.customers.retrieve(customer.id).to_dict()
    assert shop.v1.customers.create({"expand": ["test_clock"]}).test_clock is None


def test_a_refused_expansion_undoes_the_work(shop: Shop) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.customers.create({"expand": ["nothing"]})
    assert shop.v1.customers.list().data == []
    assert shop.events() == []
