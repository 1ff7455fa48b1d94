"""Traces, where the operator asks for them: spans of requests and of what they ask for, no data."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from span_receiver import SpanReceiver, receiving_spans
from store_server import Store, key_on, open_store
from visiting import Door, at_door

from shimmy_store.errors import LicensingError
from shimmy_store.ports.mail import Mail, Written
from shimmy_store.ports.tracing import Tracer, Untraced
from shimmy_store.settings import read_settings
from shimmy_store.use_cases.fulfil_customer import fulfil_customer
from shimmy_store.wiring.tracing import open_tracer

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
EMAIL = "traced@example.com"
IDS = re.compile(r"\b(cus|cs|sub|pi|ch|in|price|bps|seti|pm)_\w{6,}|whsec_|sk_test|[?&]\w+=")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(tmp_path_factory.mktemp("store")) as opened:
        yield opened


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[SpanReceiver]:
    with receiving_spans() as opened:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", opened.url)
        yield opened


def test_a_purchase_is_traced_and_nothing_of_its_customer_is_told(
    store: Store, receiver: SpanReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    key = key_on(store.buy("developer", EMAIL).text)
    store.settle()
    (customer,) = store.town.ask("customers_of", EMAIL)

    async def act(door: Door) -> None:
        async with door.visitor(traceparent=f"00-{'7' * 32}-{'7' * 16}-01") as visitor:
            shown = await visitor.post("/view-license", json={"key": key})
            assert shown.status_code == 200
            assert (await visitor.get(f"/{key}?email={EMAIL}")).status_code == 404
        shop = door.app.state.shop
        assert await fulfil_customer(customer.customer, shop.fulfilment) == "settled"
        mail = Mail("m1", "hidden@example.com", Written("Hidden", "hidden", "<p>hidden</p>"))
        await shop.office.mailer.send(mail)

    with caplog.at_level(logging.INFO, "shimmy_store"):
        at_door(store, act, traced=True)
    assert receiver.service == "shimmy-store"
    view, fulfil = receiver.one("POST prove_licence"), receiver.one("fulfil")
    assert view.facts["http.response.status_code"] == 200
    assert view.trace != "7" * 32, "a visitor's own trace is none of ours"
    asked = receiver.one("keygen POST /v1/accounts/*/licenses/actions/validate-key")
    assert (asked.trace, asked.parent) == (view.trace, view.span)
    assert fulfil.facts["shimmy.outcome"] == "settled"
    of_stripe = [one for one in receiver.spans if one.name.startswith("stripe GET /v1/")]
    assert {"stripe GET /v1/customers/*", "stripe GET /v1/charges"} <= {
        one.name for one in of_stripe
    }
    assert {one.parent for one in of_stripe} == {fulfil.span}
    assert receiver.one("mail send").parent == ""
    # The other store, which is not traced, may still hear of the purchase.
    told = [one.__dict__["fields"] for one in caplog.records if one.message == "request"]
    (request,) = [one for one in told if one["endpoint"] == "prove_licence"]
    assert request["trace_id"] == view.trace
    assert request["request_id"] == view.facts["shimmy.request_id"]
    for word in (key, EMAIL, "hidden", customer.customer, "127.0.0.1", store.town.keygen.account):
        assert word not in receiver.text, word
    assert not IDS.search(receiver.text)


def test_what_fails_is_told_by_its_code_and_with_its_events(
    store: Store, receiver: SpanReceiver
) -> None:
    (customer,) = store.town.ask("customers_of", EMAIL)

    async def act(door: Door) -> None:
        fulfilment = door.app.state.shop.fulfilment

        class Refusing:
            async def fetch(self, _customer: str) -> Any:
                raise LicensingError("payments-failing", f"about {EMAIL}", retryable=True)

        with pytest.raises(LicensingError):
            await fulfil_customer(customer.customer, replace(fulfilment, payments=Refusing()))
        async with door.visitor() as visitor:
            door.app.state.shop = replace(door.app.state.shop, holdings=None)
            assert (await visitor.post("/view-license", json={"key": "x"})).status_code == 500

    at_door(store, act, traced=True)
    assert receiver.one("fulfil").error == "payments-failing"
    assert receiver.one("POST prove_licence").error == "http-500"
    assert EMAIL not in receiver.text


def test_a_silent_collector_holds_up_neither_answers_nor_the_end(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")

    async def act(door: Door) -> None:
        async with door.visitor() as visitor:
            assert (await visitor.get("/pricing")).status_code == 200

    began = time.monotonic()
    with caplog.at_level(logging.INFO, "shimmy_store"):
        at_door(store, act, traced=True)
    assert time.monotonic() - began < 30
    (told,) = [one for one in caplog.records if one.message == "traces-not-sent"]
    assert told.__dict__["fields"]["spans"] >= 1


@pytest.mark.parametrize(
    ("variables", "traced"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "x", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "x", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_traces_are_off_unless_a_collector_is_named(
    store: Store, variables: dict[str, str], traced: bool
) -> None:
    given = {
        "MODE": "test", "URL": store.url, "STRIPE_KEY": "sk_test_1", "WEBHOOK_SECRETS": "whsec_1",
        "KEYGEN_ACCOUNT": "a", "KEYGEN_TOKEN": "t", "MAIL": "smtp://127.0.0.1:25",
        "MAIL_FROM": "a@b.example", "LEDGER": "sqlite:///x", "SECRET": "x" * 32,
        "KEYGEN_POLICIES": ",".join(f"{plan}=p{plan}" for plan in store.settings.policies),
    }  # fmt: skip
    variables |= {f"SHIMMY_STORE_{name}": value for name, value in given.items()}
    assert read_settings(variables).traced is traced


def test_without_the_extra_the_remedy_is_told_and_the_store_serves(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.delitem(sys.modules, "shimmy_store.adapters.otel_tracer", raising=False)

    async def ask() -> Tracer:
        async with AsyncExitStack() as stack:
            return await open_tracer(replace(store.settings, traced=True), stack)

    assert isinstance(asyncio.run(ask()), Untraced)
    (told,) = [one for one in caplog.records if one.message == "traces-not-installed"]
    assert told.__dict__["fields"]["hint"] == "pip install 'shimmy-store[otel]'"
