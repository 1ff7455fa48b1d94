"""What Stripe and Keygen refuse: the key for everybody, or this object; and what they never say."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
import stripe

from shimmy_store.adapters.keygen_holdings import KeygenHoldings
from shimmy_store.adapters.keygen_licences import KeygenLicences
from shimmy_store.adapters.keygen_wire import KeygenWire
from shimmy_store.adapters.stripe_errors import stripe_errors
from shimmy_store.adapters.stripe_payments import StripePayments
from shimmy_store.domain.convergence import Reinstate, Suspend
from shimmy_store.errors import PaymentsError, StoreError

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

LICENCE = uuid.UUID(int=1)
ATTRIBUTES: dict[str, Any] = {"expiry": None, "suspended": False, "metadata": {}, "key": "K"}
POLICY = {"policy": {"data": {"type": "policies", "id": "p"}}}
GOOD = {"id": str(LICENCE), "attributes": ATTRIBUTES, "relationships": POLICY}

Act = Callable[[KeygenLicences, KeygenHoldings], Awaitable[Any]]


def at_keygen(reply: httpx.Response, act: Act) -> Any:
    """One act where Keygen always replies so."""

    async def run() -> Any:
        transport = httpx.MockTransport(lambda _: reply)
        async with httpx.AsyncClient(transport=transport, base_url="http://keygen/") as client:
            licences = KeygenLicences(KeygenWire(client), {})
            return await act(licences, KeygenHoldings(KeygenWire(client), licences))

    return asyncio.run(run())


def refusal(act: Callable[[], object]) -> tuple[str, bool]:
    with pytest.raises(StoreError) as refused:
        act()
    return refused.value.code, refused.value.retryable


def find(licences: KeygenLicences, _: KeygenHoldings) -> Awaitable[Any]:
    return licences.find(LICENCE)


def find_key(_: KeygenLicences, holdings: KeygenHoldings) -> Awaitable[Any]:
    return holdings.find_key("K")


def show(_: KeygenLicences, holdings: KeygenHoldings) -> Awaitable[Any]:
    return holdings.show(LICENCE)


def free(_: KeygenLicences, holdings: KeygenHoldings) -> Awaitable[Any]:
    return holdings.free_machine(LICENCE, str(LICENCE))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (301, ("licensing-not-allowed", True)),
        (302, ("licensing-not-allowed", True)),
        (307, ("licensing-not-allowed", True)),
        (401, ("licensing-not-allowed", True)),
        (402, ("licensing-not-allowed", True)),
        (403, ("licensing-not-allowed", True)),
        (400, ("licensing-refused", True)),
        (422, ("licensing-refused", True)),
        (409, ("licensing-failing", True)),
        (429, ("licensing-failing", True)),
        (503, ("licensing-failing", True)),
    ],
)
def test_keygen_refuses_the_store_or_what_it_asks_for(
    status: int, expected: tuple[str, bool]
) -> None:
    reply = httpx.Response(status, headers={"Location": "/"} if status < 400 else {}, json={})
    assert refusal(lambda: at_keygen(reply, find)) == expected
    assert refusal(lambda: at_keygen(reply, find_key)) == expected


@pytest.mark.parametrize("act", [find, find_key, show, free])
@pytest.mark.parametrize(
    "reply",
    [
        httpx.Response(200, html="<p>A proxy's page</p>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={}),
        httpx.Response(200, json={"data": []}),
        httpx.Response(200, json={"data": "x"}),
        httpx.Response(200, json={"data": {**GOOD, "attributes": None, "relationships": None}}),
        httpx.Response(200, json={"data": {**GOOD, "relationships": {"policy": []}}}),
        httpx.Response(200, json={"data": {**GOOD, "id": 7, "relationships": {}}}),
        httpx.Response(
            200,
            json={"data": {**GOOD, "attributes": {**ATTRIBUTES, "expiry": 7}, "relationships": {}}},
        ),
    ],
    ids=lambda one: one.text[:40] if isinstance(one, httpx.Response) else one.__name__,
)
def test_what_is_no_licence_is_named_and_tried_again(reply: httpx.Response, act: Act) -> None:
    assert refusal(lambda: at_keygen(reply, act)) == ("licensing-malformed", True)


def test_a_key_that_nobody_has_is_nobodys() -> None:
    assert at_keygen(httpx.Response(200, json={"data": None, "meta": {}}), find_key) is None
    assert at_keygen(httpx.Response(200, json={"data": GOOD}), find_key).key == "K"


@pytest.mark.parametrize("step", [Suspend(), Reinstate()])
@pytest.mark.parametrize(
    ("source", "done"),
    [
        ({"pointer": "/data/attributes/suspended"}, True),
        ({"pointer": "/data"}, False),
        ({}, False),
        (None, False),
        ("x", False),
    ],
)
def test_what_is_as_it_should_be_is_no_refusal(
    step: Suspend | Reinstate, source: object, done: bool
) -> None:
    reply = httpx.Response(422, json={"errors": [{"title": "no", "source": source}]})

    def change() -> object:
        return at_keygen(reply, lambda licences, _: licences.change(LICENCE, step))

    if done:
        change()
    else:
        assert refusal(change) == ("licensing-refused", True)


def at_stripe(reply: httpx.Response) -> Any:
    """A look at one customer where Stripe always replies so."""

    class Http(stripe.HTTPClient):
        name = "of this test"

        async def request_async(self, *_: Any, **__: Any) -> Any:
            return reply.content, reply.status_code, dict(reply.headers)

    client = stripe.StripeClient("sk_test_x", http_client=Http())
    return asyncio.run(StripePayments(client).fetch("cus_1"))


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (302, None, ("payments-not-allowed", True)),
        (401, None, ("payments-not-allowed", True)),
        (402, None, ("payments-not-allowed", True)),
        (402, "card_declined", ("payments-refused", False)),
        (403, None, ("payments-not-allowed", True)),
        (400, None, ("payments-refused", False)),
        (404, "resource_missing", ("payments-refused", False)),
        (409, None, ("payments-unreachable", True)),
        (429, None, ("payments-unreachable", True)),
        (500, None, ("payments-unreachable", True)),
    ],
)
def test_stripe_refuses_the_store_or_what_it_asks_for(
    status: int, code: str | None, expected: tuple[str, bool]
) -> None:
    error = {"message": "no", "type": "an_error", **({"code": code} if code else {})}
    reply = httpx.Response(status, json={"error": error})
    assert refusal(lambda: at_stripe(reply)) == expected


def test_a_page_at_stripes_address_is_no_answer() -> None:
    reply = httpx.Response(302, html="<p>Sign in to this network</p>")
    assert refusal(lambda: at_stripe(reply)) == ("payments-not-allowed", True)


@pytest.mark.parametrize(
    "error", [KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError]
)
def test_objects_of_another_shape_are_named(error: type[Exception]) -> None:
    with pytest.raises(PaymentsError) as refused, stripe_errors():
        raise error("x")
    assert refused.value.code == "payments-malformed"
