"""Stripe, Keygen, a mailbox and the store, provisioned and running, before an operator."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from provisioning_town import ProvisioningTown, open_provisioning_town
from store_server import Store, _Gate
from town import NO_TLS, Town, find_again

from shimmy_ops.domain.profile import Profile
from shimmy_ops.ports.store_desk import StoreDesk
from shimmy_ops.use_cases.find_state import find_state
from shimmy_ops.use_cases.write_store_env import write_store_env
from shimmy_ops.wiring.accounts import environment_file, fresh_secret, open_accounts
from shimmy_ops.wiring.store import open_desk
from shimmy_sandbox.mailbox.server import MailboxServer, serve_mailbox
from shimmy_sandbox.simulation.loopback import serve_on_loopback
from shimmy_store.server.app import create_app
from shimmy_store.settings import read_settings
from shimmy_store.wiring import open_shop


@dataclass
class OperatedTown:
    """``town`` has the accounts and runs commands, ``store`` sells."""

    town: ProvisioningTown
    store: Store
    mailbox: MailboxServer

    @property
    def folder(self) -> Path:
        """Where the profile's folders are, and ``ledger.sqlite``."""
        return self.town.folder

    def profile(self) -> Profile:
        return self.town.profile(store_url=self.store.url)

    @contextmanager
    def desk(self) -> Iterator[StoreDesk]:
        with open_desk(self.profile(), self.folder) as opened:
            yield opened


def sourced(path: Path) -> Mapping[str, str]:
    """What a shell knows once it has read the file."""
    command = ["bash", "-c", f". '{path}' && env -0"]
    shown = subprocess.run(command, env={"PATH": os.defpath}, capture_output=True, check=True)
    pairs = (one.partition("=") for one in shown.stdout.decode().split("\0"))
    return {name: value for name, _, value in pairs if name.startswith("SHIMMY_")}


@contextmanager
def open_operated_town(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OperatedTown]:
    """Provisioned by our own use case; the store is the real one in this process."""
    with ExitStack() as stack:
        town = stack.enter_context(open_provisioning_town(folder, monkeypatch))
        mailbox = stack.enter_context(serve_mailbox())
        gate = _Gate()
        served = stack.enter_context(serve_on_loopback(gate))
        town.write_config(store_url=served.url)
        desired = town.desired(store_url=served.url)
        town.apply(desired)
        written = folder / "store.env"
        with open_accounts(desired.profile, folder, retries=0) as accounts:
            found = find_state(desired, accounts.billing, accounts.licensing, accounts.safe)
            write_store_env(desired, found, accounts.safe, environment_file(written), fresh_secret)
        ledger = folder / "ledger.sqlite"
        left = {
            "SHIMMY_STORE_STRIPE_KEY": town.stripe.api_key,
            "SHIMMY_STORE_MAIL": mailbox.smtp_url,
            "SHIMMY_STORE_LEDGER": f"sqlite:///{ledger}",
        }
        settings = read_settings({**sourced(written), **left})
        gate.app = create_app(settings, open_shop)
        stack.callback(gate.stop)
        browser = stack.enter_context(
            httpx.Client(base_url=town.stripe.url, trust_env=False, verify=NO_TLS, timeout=30)
        )
        simulated = Town(town.stripe, town.keygen, ledger, town.sdk, browser)
        stack.callback(find_again)
        yield OperatedTown(town, Store(served.url, simulated, mailbox, settings, stack), mailbox)
