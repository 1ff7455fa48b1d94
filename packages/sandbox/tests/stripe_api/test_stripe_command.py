"""``shimmy-sandbox stripe`` as a process of its own."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from shimmy_sandbox.simulation.state_file import StateError
from shimmy_sandbox.stripe_api.identity import API_KEY
from shimmy_sandbox.stripe_api.store import Store

from .conftest import NO_TLS, SUCCESS

PROGRAM = [
    sys.executable,
    "-c",
    "from shimmy_sandbox.cli.main import main; raise SystemExit(main())",
]


def command(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, "stripe", *args], capture_output=True, text=True, timeout=60, check=False
    )


@dataclass
class Serving:
    """A server in another process, and commands to it."""

    url: str
    client: httpx.Client

    def __call__(self, action: str, *args: str) -> subprocess.CompletedProcess[str]:
        return command(action, *args, "--url", self.url)

    def session(self) -> Any:
        """An open session for something that costs 5.00."""
        form = {
            "mode": "payment",
            "success_url": SUCCESS,
            "line_items[0][quantity]": "1",
            "line_items[0][price_data][currency]": "usd",
            "line_items[0][price_data][unit_amount]": "500",
            "line_items[0][price_data][product_data][name]": "Thing",
        }
        return self.client.post("/v1/checkout/sessions", data=form).json()


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    state = tmp_path_factory.mktemp("state") / "stripe.sqlite"
    order = ["stripe", "serve", "--state", str(state), "--port", "0"]
    process = subprocess.Popen(
        [*PROGRAM, *order], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with httpx.Client(
            base_url=url, auth=(API_KEY, ""), verify=NO_TLS, trust_env=False
        ) as client:
            yield Serving(url, client)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "NOT FOR PRODUCTION" in said


def test_pay_prints_where_the_shop_goes_on(serving: Serving) -> None:
    session = serving.session()
    paid = command("pay", session["url"], "--card", "4000002760003184", "--email", "a@example.com")
    assert paid.stdout.strip() == SUCCESS.replace("{CHECKOUT_SESSION_ID}", session["id"])
    again = command("pay", session["url"])
    assert again.returncode == 1
    assert "not paid: This checkout is complete." in again.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--card", "4000000000009995"), "not paid: Your card has insufficient funds."),
        (("--card", "4000002760003184", "--outcome", "fail"), "unable to authenticate"),
        (("--method", "alipay"), "not offered"),
        (("--email", "nobody"), "email is invalid"),
    ],
)
def test_pay_says_why_not(serving: Serving, args: tuple[str, ...], words: str) -> None:
    refused = command("pay", serving.session()["url"], *args)
    assert refused.returncode == 1
    assert words in refused.stderr
    assert "Traceback" not in refused.stderr


def test_time_and_deliveries(serving: Serving) -> None:
    assert serving("clock", "--advance", "86400").returncode == 0
    assert serving("tick").stdout.strip() == "0"
    assert serving("clock", "--reset").returncode == 0
    hook = {"url": "http://127.0.0.1:9/", "enabled_events[]": "customer.created"}
    assert serving.client.post("/v1/webhook_endpoints", data=hook).status_code == 200
    assert serving("deliveries", "--hold").returncode == 0
    serving.client.post("/v1/customers", data={"name": "x"})
    (line,) = serving("deliveries").stdout.splitlines()
    assert json.loads(line)["type"] == "customer.created"
    assert json.loads(line)["state"] == "waiting"
    assert serving("deliveries", "--release", "reversed").returncode == 0
    assert "no delivery" in serving("deliveries", "--resend", "evt_none").stderr


def test_problems_in_one_line(serving: Serving, tmp_path: Path) -> None:
    assert "start a sandbox" in command("tick", "--url", "http://127.0.0.1:9").stderr
    assert "http://127.0.0.1" in command("pay", "https://checkout.example.com/c/pay/x").stderr
    port = serving.url.rpartition(":")[2]
    state = str(tmp_path / "other.sqlite")
    assert "is in use" in command("serve", "--state", state, "--port", port).stderr
    wrong = tmp_path / "wrong"
    wrong.write_text("no database")
    assert "cannot be opened" in command("serve", "--state", str(wrong), "--port", "0").stderr
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()


def test_state_of_something_else_is_refused(tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "other") as other:
        other.execute("CREATE TABLE things (id TEXT)")
    other.close()
    with pytest.raises(StateError) as refused:
        Store(tmp_path / "other")
    assert refused.value.code == "state-foreign"
