"""``shimmy-sandbox pay`` pays one page of a sandbox, and nothing anywhere else."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from shimmy_sandbox.cli.main import main
from shimmy_sandbox.stripe_api.server import StripeServer, serve_stripe

BACK = "http://127.0.0.1:1/success"


@pytest.fixture(scope="module")
def server() -> Iterator[StripeServer]:
    with serve_stripe(":memory:") as opened:
        yield opened


@pytest.fixture(scope="module")
def client(server: StripeServer) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=server.url,
        auth=(server.api_key, ""),
        trust_env=False,
        verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    ) as opened:
        yield opened


def _session(client: httpx.Client) -> Any:
    form = {
        "mode": "payment",
        "customer_creation": "always",
        "success_url": BACK,
        "line_items[0][quantity]": "1",
        "line_items[0][price_data][currency]": "usd",
        "line_items[0][price_data][unit_amount]": "500",
        "line_items[0][price_data][product_data][name]": "Thing",
    }
    return client.post("/v1/checkout/sessions", data=form).json()


def _now(client: httpx.Client, session: Any) -> Any:
    return client.get(f"/v1/checkout/sessions/{session['id']}").json()


def test_a_page_is_paid_by_whoever_is_named(
    client: httpx.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    session = _session(client)
    assert main(["pay", session["url"], "--email", "bob@example.com"]) == 0
    paid = _now(client, session)
    assert (paid["status"], paid["payment_status"]) == ("complete", "paid")
    assert paid["customer_details"]["email"] == "bob@example.com"
    assert capsys.readouterr().out == "paid\n"


def test_a_declined_card_pays_nothing_and_the_page_stays_open(
    client: httpx.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    session = _session(client)
    assert main(["pay", session["url"], "--card", "4000000000000002"]) == 1
    assert _now(client, session)["status"] == "open"
    said = capsys.readouterr()
    assert "the page to pay on says 402" in said.err
    assert session["url"] not in said.out + said.err


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://checkout.stripe.com/c/pay/cs_test_1", "leads off this machine: nothing is sent"),
        ("cs_test_1", "leads off this machine"),
        ("http://127.0.0.1:1/c/pay/cs_test_1", "does not answer: ConnectError"),
        ("http://127.0.0.1:port/c/pay/cs_test_1", "does not answer: InvalidURL"),
    ],
)
def test_nothing_else_is_paid(url: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pay", url]) == 1
    assert words in capsys.readouterr().err
