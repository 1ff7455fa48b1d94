"""Stripe and Keygen on loopback, empty, with an operator's file and keys in front of them."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from shimmy_ops.cli.main import main
from shimmy_ops.domain.profile import Profile, parse_profile
from shimmy_ops.domain.provisioning import plan_provision
from shimmy_ops.domain.steps import Found, Plan, Step
from shimmy_ops.domain.wanted import Desired
from shimmy_ops.use_cases.apply_provision import apply_provision
from shimmy_ops.use_cases.find_state import find_state
from shimmy_ops.wiring.accounts import desired_state, fresh_attempt, open_accounts
from shimmy_sandbox.keygen.server import KeygenServer, serve_keygen
from shimmy_sandbox.simulation.faults import Fault
from shimmy_sandbox.stripe_api.server import StripeServer, serve_stripe

STORE = "http://127.0.0.1:8400"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


@dataclass
class ProvisioningTown:
    """Both servers, and the operator's hands on them and beside them."""

    stripe: StripeServer
    keygen: KeygenServer
    folder: Path
    sdk: Any
    admin: httpx.Client

    @property
    def table(self) -> dict[str, Any]:
        return {
            "store_url": STORE,
            "stripe_url": self.stripe.url,
            "keygen_url": self.keygen.url,
            "keygen_account": self.keygen.account,
            "mail_from": "Shimmy <licences@shimmy.example>",
            "keygen_permissions": True,
            "secrets_folder": "secrets",
        }

    @property
    def config(self) -> Path:
        return self.folder / "shimmy-ops.toml"

    @property
    def environ(self) -> dict[str, str]:
        return {
            "SHIMMY_OPS_SANDBOX_STRIPE_KEY": self.stripe.api_key,
            "SHIMMY_OPS_SANDBOX_KEYGEN_TOKEN": self.keygen.admin_token,
        }

    def write_config(self, **changes: Any) -> None:
        lines = ["[sandbox]"]
        for name, value in {**self.table, **changes}.items():
            written = str(value).lower() if isinstance(value, bool) else f'"{value}"'
            lines.append(f"{name} = {written}")
        self.config.write_text("\n".join(lines) + "\n")

    def profile(self, **changes: Any) -> Profile:
        return parse_profile({"sandbox": {**self.table, **changes}}, "sandbox")

    def desired(self, **changes: Any) -> Desired:
        return desired_state(self.profile(**changes))

    def look(self, desired: Desired | None = None) -> Found:
        """What is there, without a fault in the way."""
        desired = desired or self.desired()
        with open_accounts(desired.profile, self.folder, retries=0) as accounts:
            return find_state(desired, accounts.billing, accounts.licensing, accounts.safe)

    def left(self, desired: Desired | None = None) -> Plan:
        desired = desired or self.desired()
        return plan_provision(desired, self.look(desired))

    def apply(self, desired: Desired | None = None) -> list[Step]:
        """The steps that were taken."""
        desired, told = desired or self.desired(), list[Step]()
        with open_accounts(desired.profile, self.folder, retries=0) as accounts:
            apply_provision(desired, accounts, fresh_attempt(), told.append)
        return told

    def run(self, capsys: pytest.CaptureFixture[str], *argv: str) -> Ran:
        """One command in this process on the sandbox's profile; no secret is in what it says."""
        code = main([*argv, "--profile", "sandbox", "--config", str(self.config)])
        said = capsys.readouterr()
        for secret in self.secrets():
            assert secret not in said.out + said.err
        return Ran(code, said.out, said.err)

    def secrets(self) -> list[str]:
        """Everything that nobody may read."""
        made = (self.folder / "secrets").glob("*-*")
        kept = [one.read_text().strip() for one in made]
        return [self.stripe.api_key, self.keygen.admin_token, *kept]

    def cut(self, server: StripeServer | KeygenServer, place: int) -> None:
        """The request of this number is done and never answered, and no more get through.

        Requests before it are let through by a wait of no time.
        """
        before = [Fault("slow", times=place - 1)] if place > 1 else []
        server.controls.faults.add(*before, Fault("no-reply"), Fault("no-request", times=-1))

    def heal(self) -> None:
        for server in (self.stripe, self.keygen):
            server.controls.faults.clear()


@contextmanager
def open_provisioning_town(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ProvisioningTown]:
    """Nothing is stocked; the keys are in the environment."""
    with ExitStack() as stack:
        payments = stack.enter_context(serve_stripe(":memory:"))
        keygen = stack.enter_context(serve_keygen(":memory:"))
        http = stripe.HTTPXClient(timeout=30, allow_sync_methods=True)
        stack.callback(http.close)
        sdk = stripe.StripeClient(
            payments.api_key, base_addresses={"api": payments.url}, http_client=http
        )
        admin = stack.enter_context(
            httpx.Client(
                base_url=f"{keygen.url}/v1/accounts/{keygen.account}/",
                headers={"Authorization": f"Bearer {keygen.admin_token}"},
                trust_env=False,
                verify=NO_TLS,
                timeout=30,
            )
        )
        town = ProvisioningTown(payments, keygen, folder, sdk, admin)
        town.write_config()
        for name, value in town.environ.items():
            monkeypatch.setenv(name, value)
        yield town


def shapes(found: Found) -> Mapping[str, Any]:
    """What is there without ids and times, which differ from run to run."""
    names = {one["id"]: f"<{one['lookup_key']}>" for one in found.billing.prices}

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            left_out = {"id", "created", "updated", "links"}
            return {k: plain(v) for k, v in value.items() if k not in left_out}
        if isinstance(value, list | tuple):
            return sorted((plain(one) for one in value), key=repr)
        return names.get(value, value) if isinstance(value, str) else value

    policies = [{k: v for k, v in p.items() if k != "product"} for p in found.licensing.policies]
    return {
        "products": plain(found.billing.products),
        "prices": plain(found.billing.prices),
        "portals": plain(found.billing.portals),
        "endpoints": plain(found.billing.endpoints),
        "licence-products": plain(found.licensing.products),
        "entitlements": plain(found.licensing.entitlements),
        "policies": plain(policies),
        "tokens": plain(found.licensing.tokens),
        "secrets held": len(found.held),
    }
