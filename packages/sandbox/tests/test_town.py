"""``shimmy-sandbox town``: three servers on one clock, and all that a store must be told."""

from __future__ import annotations

import hashlib
import hmac
import json
import signal
import smtplib
import socket
import ssl
import stat
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from shimmy_sandbox.keygen.shop import policy_id

CONTRACT = Path(__file__).parents[3] / "contracts" / "plans.json"
CATALOGUE: dict[str, Any] = json.loads(CONTRACT.read_text(encoding="utf-8"))
PLANS: list[dict[str, Any]] = CATALOGUE["plans"]
PROGRAM = [
    sys.executable,
    "-c",
    "from shimmy_sandbox.cli.main import main; raise SystemExit(main())",
]
DAY = 86400


def order(state: Path, *more: str, plans: Path = CONTRACT) -> list[str]:
    return [*PROGRAM, "town", "serve", "--state", str(state), "--plans", str(plans), *more]


@dataclass
class Served:
    """A town in another process."""

    folder: Path
    urls: dict[str, str]
    client: httpx.Client

    @property
    def settings(self) -> dict[str, str]:
        """What a shell that reads ``store.env`` gives to the programs it starts."""
        words = '. "$1" && exec "$2" -c "import json, os; print(json.dumps(dict(os.environ)))"'
        file = str(self.folder / "store.env")
        shell = ["/bin/sh", "-c", words, "sh", file, sys.executable]
        done = subprocess.run(shell, capture_output=True, text=True, check=True, env={})
        told: dict[str, str] = json.loads(done.stdout)
        return {name: value for name, value in told.items() if name.startswith("SHIMMY_")}

    def now(self, name: str) -> datetime:
        return datetime.fromisoformat(
            self.client.get(f"{self.urls[name]}/_sim/clock").json()["now"]
        )


@contextmanager
def serving(folder: Path, *more: str) -> Iterator[Served]:
    """A town until the block ends; then it must end well when it is told to."""
    process = subprocess.Popen(
        order(folder, "--ports", "auto", *more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        lines = [process.stdout.readline().split() for _ in range(4)]
        assert lines[3:] == [["ready"]], process.communicate()
        # Loopback speaks no TLS; without this, every client reads all root certificates first.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with httpx.Client(verify=context, trust_env=False, timeout=30) as client:
            yield Served(folder, dict(lines[:3]), client)
        process.send_signal(signal.SIGTERM)
        printed, said = process.communicate(timeout=60)
    assert (process.returncode, printed) == (0, "")
    assert "NOT FOR PRODUCTION" in said
    assert "Traceback" not in said


@dataclass
class Listener:
    """A store that only listens."""

    url: str
    got: list[tuple[str, str, bytes]] = field(default_factory=list)


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    held = Listener("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            held.got.append((self.path, self.headers["Stripe-Signature"], body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        held.url = f"http://127.0.0.1:{listening.server_port}"
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield held
        listening.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, listener: Listener) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("a place") / "it's new"
    with serving(folder, "--store-url", f"{listener.url}/") as served:
        yield served
    assert sorted(one.name for one in folder.iterdir()) == [
        "keygen.sqlite", "operator.env", "shimmy-ops.toml", "store.env", "stripe.sqlite",
    ]  # fmt: skip


def test_the_store_is_told_everything(town: Served, listener: Listener) -> None:
    told = town.settings
    assert told == {
        "SHIMMY_STORE_MODE": "test",
        "SHIMMY_STORE_URL": listener.url,
        "SHIMMY_STORE_STRIPE_KEY": "sk_test_shimmySandboxNotASecret",
        "SHIMMY_STORE_STRIPE_URL": town.urls["stripe"],
        "SHIMMY_STORE_WEBHOOK_SECRETS": told["SHIMMY_STORE_WEBHOOK_SECRETS"],
        "SHIMMY_STORE_KEYGEN_URL": town.urls["keygen"],
        "SHIMMY_STORE_KEYGEN_ACCOUNT": told["SHIMMY_STORE_KEYGEN_ACCOUNT"],
        "SHIMMY_STORE_KEYGEN_TOKEN": "sandbox-admin-not-a-secret",
        "SHIMMY_STORE_KEYGEN_POLICIES": ",".join(
            f"{plan['id']}={policy_id(plan['id'])}" for plan in PLANS
        ),
        "SHIMMY_STORE_MAIL": told["SHIMMY_STORE_MAIL"],
        "SHIMMY_STORE_MAIL_FROM": "Shimmy Vision <licences@shimmy.example>",
        "SHIMMY_STORE_LEDGER": f"sqlite:///{town.folder}/ledger.sqlite",
        "SHIMMY_STORE_SECRET": told["SHIMMY_STORE_SECRET"],
        "SHIMMY_STORE_OPERATOR_TOKEN": told["SHIMMY_STORE_OPERATOR_TOKEN"],
        "SHIMMY_LICENSE_URL": town.urls["keygen"],
    }
    assert "sandbox" in told["SHIMMY_STORE_SECRET"]
    assert len({*town.urls.values(), told["SHIMMY_STORE_MAIL"]}) == 4


def test_only_its_owner_reads_it(town: Served) -> None:
    file = town.folder / "store.env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(town.folder.stat().st_mode) == 0o700
    lines = file.read_text(encoding="utf-8").splitlines()
    assert all(line.startswith("export SHIMMY_") for line in lines)


def test_an_operator_may_set_it_up_instead(tmp_path: Path) -> None:
    folder = tmp_path / "town"
    with serving(folder, "--unstocked", "--store-url", "http://127.0.0.1:9") as town:
        assert not (folder / "store.env").exists()
        operator = folder / "operator.env"
        assert stat.S_IMODE(operator.stat().st_mode) == 0o600
        given = dict(
            line.removeprefix("export ").split("=", 1) for line in operator.read_text().splitlines()
        )
        key = httpx.BasicAuth(given["SHIMMY_OPS_SANDBOX_STRIPE_KEY"], "")
        assert town.client.get(f"{town.urls['stripe']}/v1/prices", auth=key).json()["data"] == []
        profile = tomllib.loads((folder / "shimmy-ops.toml").read_text())["sandbox"]
        assert profile["store_url"] == "http://127.0.0.1:9"
        token = {"Authorization": f"Bearer {given['SHIMMY_OPS_SANDBOX_KEYGEN_TOKEN']}"}
        account = f"{profile['keygen_url']}/v1/accounts/{profile['keygen_account']}"
        products = town.client.get(f"{account}/products", headers=token).json()["data"]
        assert [one["id"] for one in products] == [profile["keygen_product"]]
        assert town.client.get(f"{account}/policies", headers=token).json()["data"] == []


def test_the_plans_are_on_sale(town: Served) -> None:
    told = town.settings
    key = httpx.BasicAuth(told["SHIMMY_STORE_STRIPE_KEY"], "")
    listed = town.client.get(
        f"{told['SHIMMY_STORE_STRIPE_URL']}/v1/prices", params={"limit": "100"}, auth=key
    )
    prices = {one["lookup_key"]: one["unit_amount"] for one in listed.json()["data"]}
    assert prices == {plan["id"]: plan["unit_amount"] for plan in PLANS}
    assert {one["currency"] for one in listed.json()["data"]} == {CATALOGUE["currency"]}


def test_the_licences_can_be_made(town: Served) -> None:
    told = town.settings
    bearer = {"Authorization": f"Bearer {told['SHIMMY_STORE_KEYGEN_TOKEN']}"}
    base = f"{told['SHIMMY_STORE_KEYGEN_URL']}/v1/accounts/{told['SHIMMY_STORE_KEYGEN_ACCOUNT']}"
    for pair in told["SHIMMY_STORE_KEYGEN_POLICIES"].split(","):
        plan, _, policy = pair.partition("=")
        found = town.client.get(f"{base}/policies/{policy}", headers=bearer).json()["data"]
        assert found["attributes"]["metadata"]["plan"] == plan


def test_events_reach_the_store_signed(town: Served, listener: Listener) -> None:
    told = town.settings
    key = httpx.BasicAuth(told["SHIMMY_STORE_STRIPE_KEY"], "")
    customers = f"{told['SHIMMY_STORE_STRIPE_URL']}/v1/customers"
    made = town.client.post(customers, data={"name": "Ada"}, auth=key).json()["id"]
    town.client.post(f"{customers}/{made}", data={"name": "Bob"}, auth=key)
    town.client.post(f"{town.urls['stripe']}/_sim/deliveries/idle")
    ((path, header, body),) = listener.got
    stamp, _, signature = header.partition(",")
    signed = stamp.removeprefix("t=").encode() + b"." + body
    secret = told["SHIMMY_STORE_WEBHOOK_SECRETS"].encode()
    assert signature == f"v1={hmac.new(secret, signed, hashlib.sha256).hexdigest()}"
    assert (path, json.loads(body)["type"]) == ("/stripe-webhook", "customer.updated")


def test_mail_arrives(town: Served) -> None:
    told = town.settings
    place = urlsplit(told["SHIMMY_STORE_MAIL"])
    assert place.scheme == "smtp"
    words = f"From: {told['SHIMMY_STORE_MAIL_FROM']}\r\nSubject: Key\r\n\r\nHere it is.\r\n"
    with smtplib.SMTP(str(place.hostname), place.port or 0, timeout=30) as post:
        post.sendmail("licences@shimmy.example", ["ada@example.com"], words)
    (mail,) = town.client.get(f"{town.urls['mail']}/_sim/messages").json()
    assert "Key" in json.dumps(mail)


@pytest.mark.parametrize("moved", ["stripe", "keygen", "mail"])
def test_one_clock(town: Served, moved: str) -> None:
    before = {name: town.now(name) for name in town.urls}
    town.client.post(f"{town.urls[moved]}/_sim/clock", json={"advance_seconds": 10 * DAY})
    passed = [town.now(name) - before[name] for name in town.urls]
    town.client.post(f"{town.urls[moved]}/_sim/clock", json={"reset": True})
    assert all(timedelta(days=10) <= one < timedelta(days=10, hours=1) for one in passed)


def test_faults_are_each_servers_own(town: Served) -> None:
    town.client.post(f"{town.urls['keygen']}/_sim/faults", json={"kind": "status", "times": 1})
    told = town.settings
    key = httpx.BasicAuth(told["SHIMMY_STORE_STRIPE_KEY"], "")
    stripe = town.client.get(f"{town.urls['stripe']}/v1/prices", auth=key)
    keygen = town.client.get(f"{town.urls['keygen']}/v1/ping")
    assert (stripe.status_code, keygen.status_code) == (200, 503)


def test_a_restart_keeps_what_the_store_was_told(tmp_path: Path) -> None:
    with serving(tmp_path) as town:
        first = town.settings
    stale = tmp_path / "store.env"
    stale.chmod(0o644)
    (tmp_path / ".store.env.new").write_text("left by a crash", encoding="utf-8")
    euros = tmp_path / "plans.json"
    plans = [{**plan, "unit_amount": plan["unit_amount"] + 1} for plan in PLANS]
    euros.write_text(json.dumps({"currency": "eur", "plans": plans}), encoding="utf-8")
    with serving(tmp_path, "--plans", str(euros)) as town:
        again = town.settings
        key = httpx.BasicAuth(again["SHIMMY_STORE_STRIPE_KEY"], "")
        listed = town.client.get(
            f"{town.urls['stripe']}/v1/prices", params={"lookup_keys[]": "lifetime"}, auth=key
        )
        (price,) = listed.json()["data"]
    assert (price["unit_amount"], price["currency"]) == (49901, "eur")
    kept = {name for name in first if not name.endswith("_URL") and name != "SHIMMY_STORE_MAIL"}
    assert {name: first[name] for name in kept} == {name: again[name] for name in kept}
    assert again["SHIMMY_STORE_URL"] == "http://127.0.0.1:8400"
    assert stat.S_IMODE(stale.stat().st_mode) == 0o600
    assert not (tmp_path / ".store.env.new").exists()


def refused(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "ready" not in done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


def test_problems_in_one_line(tmp_path: Path) -> None:
    free = ("--ports", "auto")
    empty = tmp_path / "plans.json"
    empty.write_text('{"currency": "usd", "plans": [{"id": "x"}]}', encoding="utf-8")
    state = tmp_path / "state"
    missing = tmp_path / "none.json"
    assert "cannot read the plans" in refused(order(state, *free, plans=missing))
    assert "holds no plans: give contracts" in refused(order(state, *free, plans=empty))
    assert not state.exists()
    elsewhere = order(state, *free, "--store-url", "https://store.example")
    assert "delivers to http:// on loopback and nowhere else" in refused(elsewhere)
    assert not (state / "store.env").exists()
    assert "cannot serve" in refused(order(empty, *free))
    (state / "stripe.sqlite").write_text("no database", encoding="utf-8")
    assert "cannot be opened as sandbox state" in refused(order(state, *free))


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as listening:
        try:
            listening.bind(("127.0.0.1", 7410))
            listening.listen()
        except OSError:
            pass  # Somebody else has it: just as well.
        said = refused(order(tmp_path))
    assert "one of the ports 7420, 7410, 7430 and 7431 is in use: stop what listens" in said
