"""``shimmy-sandbox town``: Stripe, the licence server and the mailbox together, on one clock."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from shimmy_sandbox.cli.plans_file import PlansError, PlansFile, read_plans
from shimmy_sandbox.cli.serving import CommandError, failed, until_stopped
from shimmy_sandbox.keygen.identity import PRODUCT_ID
from shimmy_sandbox.keygen.server import KeygenServer, serve_keygen
from shimmy_sandbox.keygen.shop import ShopError, policy_id, stock_product, stock_shop
from shimmy_sandbox.mailbox.server import MailboxServer, serve_mailbox
from shimmy_sandbox.simulation.clock import SimulatedClock
from shimmy_sandbox.simulation.controls import Controls
from shimmy_sandbox.simulation.state_file import StateError
from shimmy_sandbox.stripe_api.server import StripeServer, serve_stripe
from shimmy_sandbox.stripe_api.shop import StockingError, stock_stripe

_STORE_URL: Final = "http://127.0.0.1:8400"
_STORE_SECRET: Final = "sandbox-store-secret-that-is-published-and-worth-nothing"  # noqa: S105 - so it is
_OPERATOR_TOKEN: Final = "sandbox-operator-token-that-is-published-and-worth-nothing"  # noqa: S105 - so it is
_MAIL_FROM: Final = "Shimmy Vision <licences@shimmy.example>"
_WARNING = """\
shimmy-sandbox: THIS TOWN IS A SANDBOX, NOT FOR PRODUCTION. No money moves and no mail leaves it.
shimmy-sandbox: Its keys are published; its licences are worth nothing.
shimmy-sandbox: It listens on 127.0.0.1 only. Stop it with Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the town listens; 0 is any free port."""

    stripe: int = 7420
    keygen: int = 7410
    mail: int = 7430
    smtp: int = 7431


_PORTS: Mapping[str, Ports] = {"fixed": Ports(), "auto": Ports(0, 0, 0, 0)}


@dataclass(frozen=True, slots=True)
class Town:
    """The servers that run together."""

    stripe: StripeServer
    keygen: KeygenServer
    mail: MailboxServer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One subcommand: serve."""
    actions = parser.add_subparsers(dest="action", required=True)
    serving = actions.add_parser(
        "serve", help="serve until Ctrl-C; prints the URLs, then `ready` when all is stocked"
    )
    serving.add_argument(
        "--state", type=Path, required=True, metavar="FOLDER", help="made if missing"
    )
    serving.add_argument("--plans", type=Path, required=True, help="contracts/plans.json")
    serving.add_argument(
        "--store-url", default=_STORE_URL, help=f"where the store will be (default {_STORE_URL})"
    )
    serving.add_argument(
        "--unstocked",
        action="store_true",
        help="sell nothing yet: `shimmy-ops provision` is to set it up, with operator.env",
    )
    serving.add_argument(
        "--ports", default="fixed", choices=tuple(_PORTS), help="auto: any that are free"
    )


def run(args: argparse.Namespace) -> int:
    """Serve; 1 with one line on stderr when it cannot be done."""
    try:
        _serve(args)
    except (PlansError, ShopError, StateError, StockingError, CommandError) as problem:
        return failed(str(problem))
    except httpx.HTTPError as problem:
        return failed(f"the town did not answer while it was stocked: {problem}")
    return 0


def _serve(args: argparse.Namespace) -> None:
    offer = read_plans(args.plans)
    print(_WARNING, file=sys.stderr, flush=True)
    fixed = _PORTS["fixed"]
    taken = f"{fixed.stripe}, {fixed.keygen}, {fixed.mail} and {fixed.smtp}"
    with until_stopped(f"one of the ports {taken}", "give --ports auto"):
        folder = args.state.resolve()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _serving(folder, _PORTS[args.ports]) as town:
            for name, server in (("stripe", town.stripe), ("keygen", town.keygen)):
                print(name, server.url, flush=True)
            print("mail", town.mail.url, flush=True)
            store_url = args.store_url.rstrip("/")
            if args.unstocked:
                stock_product(town.keygen)
            else:
                settings = _stocked(town, offer, folder, store_url)
                write_private(folder / "store.env", exports(settings))
            write_private(folder / "operator.env", exports(_operators(town, folder)))
            write_private(folder / "shimmy-ops.toml", _profile(town, store_url))
            print("ready", flush=True)
            town.stripe.wait()


@contextmanager
def _serving(folder: Path, ports: Ports) -> Iterator[Town]:
    # One clock, whoever moves it; faults and requests seen are each server's own.
    clock = SimulatedClock()
    with (
        serve_stripe(folder / "stripe.sqlite", ports.stripe, Controls(clock)) as stripe,
        serve_keygen(folder / "keygen.sqlite", ports.keygen, Controls(clock)) as keygen,
        serve_mailbox(ports.mail, ports.smtp, Controls(clock)) as mail,
    ):
        yield Town(stripe, keygen, mail)


def _stocked(town: Town, offer: PlansFile, folder: Path, store_url: str) -> dict[str, str]:
    """Both shops stocked, and what a store must be told to work with them."""
    stock_shop(town.keygen, offer.plans)
    stocked = stock_stripe(town.stripe, offer.plans, store_url, offer.currency)
    policies = [f"{plan['id']}={policy_id(plan['id'])}" for plan in offer.plans]
    return {
        "SHIMMY_STORE_MODE": "test",
        "SHIMMY_STORE_URL": store_url,
        "SHIMMY_STORE_STRIPE_KEY": town.stripe.api_key,
        "SHIMMY_STORE_STRIPE_URL": town.stripe.url,
        "SHIMMY_STORE_WEBHOOK_SECRETS": stocked.webhook_secret,
        "SHIMMY_STORE_KEYGEN_URL": town.keygen.url,
        "SHIMMY_STORE_KEYGEN_ACCOUNT": town.keygen.account,
        "SHIMMY_STORE_KEYGEN_TOKEN": town.keygen.admin_token,
        "SHIMMY_STORE_KEYGEN_POLICIES": ",".join(policies),
        "SHIMMY_STORE_MAIL": town.mail.smtp_url,
        "SHIMMY_STORE_MAIL_FROM": _MAIL_FROM,
        "SHIMMY_STORE_LEDGER": _ledger(folder),
        "SHIMMY_STORE_SECRET": _STORE_SECRET,
        "SHIMMY_STORE_OPERATOR_TOKEN": _OPERATOR_TOKEN,
        "SHIMMY_LICENSE_URL": town.keygen.url,
    }


def _operators(town: Town, folder: Path) -> dict[str, str]:
    """The operator's keys, and what the store has to be told that ``shimmy-ops`` cannot know."""
    return {
        "SHIMMY_OPS_SANDBOX_STRIPE_KEY": town.stripe.api_key,
        "SHIMMY_OPS_SANDBOX_KEYGEN_TOKEN": town.keygen.admin_token,
        "SHIMMY_OPS_SANDBOX_MAIL": town.mail.smtp_url,
        "SHIMMY_STORE_STRIPE_KEY": town.stripe.api_key,
        "SHIMMY_STORE_MAIL": town.mail.smtp_url,
        "SHIMMY_STORE_LEDGER": _ledger(folder),
        "SHIMMY_LICENSE_URL": town.keygen.url,
    }


def _profile(town: Town, store_url: str) -> str:
    """``shimmy-ops.toml`` for this town; its addresses need no quoting."""
    settings = {
        "store_url": store_url,
        "stripe_url": town.stripe.url,
        "keygen_url": town.keygen.url,
        "keygen_account": town.keygen.account,
        "keygen_product": PRODUCT_ID,
        "mail_from": _MAIL_FROM,
        "operator_mail": "operator@shimmy.example",
    }
    lines = [f'{name} = "{value}"\n' for name, value in settings.items()]
    return "".join(["[sandbox]\n", *lines, "keygen_permissions = true\n"])


def _ledger(folder: Path) -> str:
    # The path is absolute, so that a fourth slash begins it.
    return f"sqlite:///{folder / 'ledger.sqlite'}"


def exports(settings: Mapping[str, str]) -> str:
    """``settings`` for a shell."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in settings.items())


def write_private(path: Path, text: str) -> None:
    """``text`` whole or not at all, for its owner's eyes only."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)
