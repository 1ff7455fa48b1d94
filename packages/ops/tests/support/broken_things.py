"""One way to break each thing that preflight looks at, undone when the block ends."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import httpx
import pytest
import stripe
from planted_secrets import drawn
from ready_town import ReadyTown

from shimmy_ops.adapters.gathering.web_pages import WebPages
from shimmy_ops.adapters.keeping.contract_files import read_contract

Patch: TypeAlias = pytest.MonkeyPatch
Break: TypeAlias = Callable[[ReadyTown, Patch], AbstractContextManager[None]]


@contextmanager
def key_of_live_mode(_town: ReadyTown, patch: Patch) -> Iterator[None]:
    patch.setenv("SHIMMY_OPS_SANDBOX_STRIPE_KEY", "sk_" + "live_" + drawn("pf", 24))
    yield


@contextmanager
def key_of_nobody(_town: ReadyTown, patch: Patch) -> Iterator[None]:
    patch.setenv("SHIMMY_OPS_SANDBOX_STRIPE_KEY", "sk_" + "test_" + drawn("pf", 24))
    yield


@contextmanager
def token_of_nobody(_town: ReadyTown, patch: Patch) -> Iterator[None]:
    patch.setenv("SHIMMY_OPS_SANDBOX_KEYGEN_TOKEN", "admin-of-somebody-else")
    yield


@contextmanager
def secret_lost(town: ReadyTown, _patch: Patch) -> Iterator[None]:
    kept, away = town.secrets / "metrics-token", town.folder / "away"
    kept.rename(away)
    yield
    away.rename(kept)


@contextmanager
def secret_readable(town: ReadyTown, _patch: Patch) -> Iterator[None]:
    (town.secrets / "store-secret").chmod(0o644)
    yield
    (town.secrets / "store-secret").chmod(0o600)


@contextmanager
def secrets_in_git(town: ReadyTown, _patch: Patch) -> Iterator[None]:
    subprocess.run(["git", "init", "-q", str(town.folder)], check=True)
    yield
    shutil.rmtree(town.folder / ".git")


@contextmanager
def contract_of_another_shape(_town: ReadyTown, patch: Patch) -> Iterator[None]:
    patch.setattr("shimmy_ops.wiring.accounts.read_contract", lambda _name: {"plans": "none"})
    yield


@contextmanager
def catalog_of_another_price(_town: ReadyTown, patch: Patch) -> Iterator[None]:
    def read(name: str) -> Any:
        contract = read_contract(name)
        if name == "plans.json":
            contract["plans"][0]["unit_amount"] += 100
        return contract

    patch.setattr("shimmy_ops.wiring.accounts.read_contract", read)
    yield


def at_stripe(change: Callable[[Any], Any]) -> Break:
    """Somebody changes something in the dashboard; provisioning repairs it."""

    @contextmanager
    def broken(town: ReadyTown, _patch: Patch) -> Iterator[None]:
        change(town.operated.town.sdk.v1)
        yield
        town.repair()

    return broken


def _first_price(v1: Any) -> str:
    return str(v1.prices.list({"lookup_keys": ["developer"]}).data[0].id)


def _portal(v1: Any) -> str:
    return str(v1.billing_portal.configurations.list({"active": True}).data[0].id)


def _endpoint(v1: Any) -> str:
    return str(v1.webhook_endpoints.list().data[0].id)


def _change_portal(asked: Mapping[str, Any]) -> Break:
    return at_stripe(lambda v1: v1.billing_portal.configurations.update(_portal(v1), asked))


def _second_portal(v1: Any) -> None:
    features = {"invoice_history": {"enabled": True}}
    v1.billing_portal.configurations.create({"features": features, "metadata": {"shimmy": "store"}})


@contextmanager
def policy_changed(town: ReadyTown, _patch: Patch) -> Iterator[None]:
    admin = town.operated.town.admin
    policy = admin.get("policies?limit=1").json()["data"][0]["id"]
    sent = {"data": {"type": "policies", "attributes": {"maxUses": 7}}}
    assert admin.patch(f"policies/{policy}", json=sent).is_success
    yield
    town.repair()


@contextmanager
def second_endpoint(town: ReadyTown, _patch: Patch) -> Iterator[None]:
    v1 = town.operated.town.sdk.v1
    url = f"{town.settings['store_url']}/stripe-webhook"
    made = v1.webhook_endpoints.create({"url": url, "enabled_events": ["invoice.paid"]})
    yield
    v1.webhook_endpoints.delete(made.id)


def way_to_pay_off(name: str) -> Break:
    @contextmanager
    def broken(town: ReadyTown, _patch: Patch) -> Iterator[None]:
        configurations = town.operated.town.sdk.v1.payment_method_configurations
        default = configurations.list().data[0].id
        for preference in ("off", "on"):
            asked = {name: {"display_preference": {"preference": preference}}}
            configurations.update(default, asked)
            if preference == "off":
                yield

    return broken


def secret_replaced(pattern: str, value: str) -> Break:
    """The operator and the store know different ones."""

    @contextmanager
    def broken(town: ReadyTown, _patch: Patch) -> Iterator[None]:
        (file,) = town.secrets.glob(pattern)
        kept = file.read_text()
        file.write_text(value)
        yield
        file.write_text(kept)

    return broken


def set_otherwise(**changes: Any) -> Break:
    """``{yes}``, ``{slow}``: a server that answers everything; ``{gone}``: nobody listens."""

    @contextmanager
    def broken(town: ReadyTown, _patch: Patch) -> Iterator[None]:
        places = {
            "yes": f"{town.answering}/yes",
            "slow": f"{town.answering}/slow",
            "site": f"{town.answering}/site",
            "store": town.settings["store_url"],
            "gone": "http://127.0.0.1:9",
        }
        written = {
            name: value.format(**places) if value else value for name, value in changes.items()
        }
        with town.set_up(**written):
            yield

    return broken


def at_server_of(name: str) -> Break:
    """The store's paths are asked of a server that says yes to all of them, soon or late."""

    @contextmanager
    def broken(town: ReadyTown, patch: Patch) -> Iterator[None]:
        ask = WebPages._ask

        def elsewhere(self: WebPages, method: str, url: str, **given: Any) -> httpx.Response:
            path = url.removeprefix(town.settings["store_url"])
            return ask(self, method, f"{town.answering}/{name}{path}", **given)

        patch.setattr(WebPages, "_ask", elsewhere)
        patch.setattr("shimmy_ops.wiring.preflight._TRIES", 1)
        yield

    return broken


def stripe_ahead(**span: float) -> Break:
    @contextmanager
    def broken(town: ReadyTown, _patch: Patch) -> Iterator[None]:
        clock = town.operated.town.stripe.controls.clock
        clock.advance(timedelta(**span))
        yield
        clock.reset()

    return broken


@contextmanager
def our_clock_behind(_town: ReadyTown, patch: Patch) -> Iterator[None]:
    patch.setattr(
        "shimmy_ops.wiring.preflight.utc_now", lambda: datetime.now(UTC) - timedelta(minutes=10)
    )
    yield


def patched(name: str, value: Any) -> Break:
    @contextmanager
    def broken(_town: ReadyTown, patch: Patch) -> Iterator[None]:
        patch.setattr(name, value)
        yield

    return broken


@contextmanager
def alarm_raised(town: ReadyTown, _patch: Patch) -> Iterator[None]:
    """A genuine event of the other mode: an endpoint is set up wrongly somewhere."""
    (secret,) = town.secrets.glob("endpoint-*")
    event = {"id": "evt_1", "type": "invoice.paid", "created": 1, "livemode": True}
    body = json.dumps({**event, "data": {"object": {}}})
    stamp = int(datetime.now(UTC).timestamp())
    signed = stripe.WebhookSignature.generate_signature_header(
        body, secret.read_text().strip(), stamp
    )
    url = f"{town.settings['store_url']}/stripe-webhook"
    headers = {"Stripe-Signature": str(signed)}
    assert httpx.post(url, content=body, headers=headers, trust_env=False).is_client_error
    yield
    with town.operated.desk() as desk:
        assert desk.acknowledge("wrong-mode", "invoice.paid")


@contextmanager
def event_parked(town: ReadyTown, _patch: Patch) -> Iterator[None]:
    with closing(sqlite3.connect(town.folder / "ledger.sqlite")) as ledger:
        ledger.execute(
            "INSERT INTO events (id, type, customer, payment, created, received, state, again,"
            " body) VALUES ('evt_parked', 'invoice.paid', '', '', 1, 1, 'parked', 1, '')"
        )
        ledger.commit()
        yield
        ledger.execute("DELETE FROM events WHERE id = 'evt_parked'")
        ledger.commit()


@contextmanager
def mailer_refuses(town: ReadyTown, _patch: Patch) -> Iterator[None]:
    place = f"{town.operated.mailbox.url}/_sim/smtp"
    fault = {"stage": "rcpt", "kind": "permanent", "times": -1}
    assert httpx.post(place, json=fault, trust_env=False).is_success
    yield
    httpx.delete(place, trust_env=False)


@contextmanager
def backup_old(town: ReadyTown, _patch: Patch) -> Iterator[None]:
    town.write_backup(timedelta(hours=25))
    yield
    town.write_backup()


@contextmanager
def backup_unverified(town: ReadyTown, _patch: Patch) -> Iterator[None]:
    town.write_backup(verified=False)
    yield
    town.write_backup()


@contextmanager
def site_damaged(town: ReadyTown, _patch: Patch) -> Iterator[None]:
    page = town.built / "refunds.html"
    kept = page.read_bytes()
    page.unlink()
    yield
    page.write_bytes(kept)


@contextmanager
def secret_planted(town: ReadyTown, patch: Patch) -> Iterator[None]:
    tree = town.folder / "tree"
    tree.mkdir()
    (tree / "notes.txt").write_text("sk_" + "live_" + drawn("planted", 24))
    subprocess.run(["git", "init", "-q", str(tree)], check=True)
    subprocess.run(["git", "-C", str(tree), "add", "notes.txt"], check=True)
    patch.chdir(tree)
    yield
    shutil.rmtree(tree)


@contextmanager
def store_without_keygens_key(town: ReadyTown, _patch: Patch) -> Iterator[None]:
    """As one that was started before its environment was written anew."""
    settings = town.operated.store.settings
    kept = settings.keygen_public_key
    assert kept == town.operated.town.keygen.public_key, "provisioning wrote it"
    # The running app has these very settings.
    object.__setattr__(settings, "keygen_public_key", "")
    yield
    object.__setattr__(settings, "keygen_public_key", kept)


BROKEN: Mapping[str, Break] = {
    "store-keygen-key": store_without_keygens_key,
    "stripe-key-mode": key_of_live_mode,
    "stripe-answers": key_of_nobody,
    "keygen-answers": token_of_nobody,
    "secrets-kept": secret_lost,
    "secrets-private": secret_readable,
    "secrets-outside-git": secrets_in_git,
    "contracts-readable": contract_of_another_shape,
    "stripe-products": at_stripe(lambda v1: v1.products.update("startup", {"name": "Other"})),
    "stripe-prices": at_stripe(lambda v1: v1.prices.update(_first_price(v1), {"active": False})),
    "keygen-policies": policy_changed,
    "provision-complete": _change_portal({"business_profile": {"privacy_policy_url": ""}}),
    "provision-undisturbed": second_endpoint,
    "once-payment-methods": way_to_pay_off("alipay"),
    "monthly-payment-methods": way_to_pay_off("link"),
    "portal-active": at_stripe(_second_portal),
    "portal-features": _change_portal({"features": {"invoice_history": {"enabled": False}}}),
    "portal-return": _change_portal({"default_return_url": "http://127.0.0.1:9/elsewhere"}),
    "webhook-endpoint": at_stripe(
        lambda v1: v1.webhook_endpoints.update(_endpoint(v1), {"disabled": True})
    ),
    "webhook-events": at_stripe(
        lambda v1: v1.webhook_endpoints.update(_endpoint(v1), {"enabled_events": ["invoice.paid"]})
    ),
    "webhook-alone": second_endpoint,
    "webhook-accepts-genuine": secret_replaced("endpoint-*", "whsec" + "_of_another_endpoint"),
    "webhook-refuses-forged": set_otherwise(webhook_url="{yes}/stripe-webhook"),
    "clock-stripe": stripe_ahead(minutes=10),
    "clock-store": our_clock_behind,
    "clocks-exact": stripe_ahead(seconds=30),
    "store-health": set_otherwise(store_url="{gone}"),
    "store-version": patched("shimmy_ops.cli.preflight.__version__", "9.9.0"),
    "store-pricing": catalog_of_another_price,
    "store-headers": at_server_of("yes"),
    "health-fast": at_server_of("slow"),
    "pricing-fast": at_server_of("slow"),
    "desk-open": secret_replaced("operator-token", "of another store, and as long as it must be"),
    "desk-closed": at_server_of("yes"),
    "metrics-open": secret_replaced("metrics-token", "of-another-store"),
    "alarms-none": alarm_raised,
    "nothing-parked": event_parked,
    "ledger-schema": patched("shimmy_ops.domain.preflight.store_checks.LEDGER_SCHEMA", 99),
    "operator-mail": set_otherwise(operator_mail=None),
    "mail-goes-out": mailer_refuses,
    "backup-recent": backup_old,
    "backup-verified": backup_unverified,
    "site-built": set_otherwise(site_folder="secrets"),
    "site-sound": site_damaged,
    "site-answers": set_otherwise(site_url="{site}/nowhere"),
    "site-leads-to-store": set_otherwise(site_url="{yes}"),
    "webhook-at-store": set_otherwise(webhook_url="{yes}/stripe-webhook"),
    "privacy-page": set_otherwise(privacy_url="{site}/nowhere.html"),
    "terms-page": set_otherwise(terms_url=None),
    "tree-clean": secret_planted,
}
"""By the check that it makes fail."""
