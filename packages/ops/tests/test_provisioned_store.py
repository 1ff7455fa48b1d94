"""The store, started on what provisioning made and wrote, sells, moves and ends a licence."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from provisioning_town import ProvisioningTown
from store_server import Store, _Gate, eventually, key_on
from town import NO_TLS, Town
from visiting import licence_at_keygen

from shimmy_sandbox.mailbox.server import serve_mailbox
from shimmy_sandbox.simulation.loopback import serve_on_loopback
from shimmy_store.server.app import create_app
from shimmy_store.settings import read_settings
from shimmy_store.wiring import open_shop

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def sourced(path: Path) -> Mapping[str, str]:
    """What a shell knows once it has read the file."""
    command = ["bash", "-c", f". '{path}' && env -0"]
    shown = subprocess.run(command, env={"PATH": os.defpath}, capture_output=True, check=True)
    pairs = (one.partition("=") for one in shown.stdout.decode().split("\0"))
    return {name: value for name, _, value in pairs if name.startswith("SHIMMY_")}


@pytest.fixture
def store(town: ProvisioningTown, capsys: pytest.CaptureFixture[str]) -> Iterator[Store]:
    with ExitStack() as stack:
        mailbox = stack.enter_context(serve_mailbox())
        gate = _Gate()
        served = stack.enter_context(serve_on_loopback(gate))
        town.write_config(store_url=served.url)
        written = town.folder / "store.env"
        done = town.run(capsys, "provision", "--apply", "--write-env", str(written))
        assert done.code == 0, done.err
        left = {
            "SHIMMY_STORE_STRIPE_KEY": town.stripe.api_key,
            "SHIMMY_STORE_MAIL": mailbox.smtp_url,
            "SHIMMY_STORE_LEDGER": f"sqlite:///{town.folder / 'ledger.sqlite'}",
            "SHIMMY_STORE_SECRET": "o" * 32,
        }
        settings = read_settings({**sourced(written), **left})
        gate.app = create_app(settings, open_shop)
        stack.callback(gate.stop)
        browser = stack.enter_context(
            httpx.Client(base_url=town.stripe.url, trust_env=False, verify=NO_TLS)
        )
        ledger = town.folder / "ledger.sqlite"
        simulated = Town(town.stripe, town.keygen, ledger, town.sdk, browser)
        yield Store(served.url, simulated, mailbox, settings, stack)


def test_a_plan_is_sold_changed_and_paid_back(store: Store, town: ProvisioningTown) -> None:
    assert store.settings.keygen_token != town.keygen.admin_token
    visitor = store.visitor()
    key = key_on(store.buy("developer", "ada@example.com", visitor).text)
    assert key in eventually(lambda: _mailed(store, "ada@example.com"))
    assert httpx.get(f"{store.url}/health", trust_env=False).json()["status"] == "ok"
    policies = store.settings.policies
    assert _policy(store, key) == policies["developer"]
    page = visitor.open("/view-license")
    customer = re.search(r'name="customer" value="(cus_\w+)"', page.text)
    assert customer
    portal = visitor.submit("/create-portal-session", customer=customer[1])
    assert portal.headers["location"].startswith(town.stripe.url)
    (subscription,) = town.sdk.v1.subscriptions.list({"customer": customer[1]}).data
    (price,) = town.sdk.v1.prices.list({"lookup_keys": ["startup"]}).data
    item = {"id": subscription["items"].data[0].id, "price": price.id}
    change = {"items": [item], "proration_behavior": "always_invoice"}
    town.sdk.v1.subscriptions.update(subscription.id, change)
    eventually(lambda: _policy(store, key) == policies["startup"])
    for charge in town.sdk.v1.charges.list({"customer": customer[1]}).data:
        town.sdk.v1.refunds.create({"charge": charge.id})
    eventually(lambda: licence_at_keygen(store, key)["attributes"]["suspended"])


def _mailed(store: Store, address: str) -> str | None:
    found = [one["text"] for one in store.mails(address)]
    return found[-1] if found else None


def _policy(store: Store, key: str) -> Any:
    return licence_at_keygen(store, key)["relationships"]["policy"]["data"]["id"]
