"""``shimmy-store`` as an operator runs it: what it prints, and what it exits with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from town import NO_TLS, Town, open_town

from shimmy_sandbox.mailbox.server import MailboxServer, serve_mailbox
from shimmy_sandbox.simulation.faults import Fault
from shimmy_store import __version__, wiring
from shimmy_store.adapters.stripe_payments import StripePayments
from shimmy_store.cli import work
from shimmy_store.cli.main import COMMANDS, main
from shimmy_store.domain.catalog import PLAN_IDS
from shimmy_store.domain.fulfilment import Alarm
from shimmy_store.domain.notices import Notice
from shimmy_store.domain.purchases import Purchases
from shimmy_store.errors import CatalogError
from shimmy_store.ports.ledger import HeardEvent

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

CLOSED = "http://127.0.0.1:9"
PREFIX = "SHIMMY_STORE_"
BASE = {
    "MODE": "test",
    "URL": "http://127.0.0.1:8400",
    "STRIPE_KEY": "sk_test_hidden",
    "STRIPE_URL": CLOSED,
    "WEBHOOK_SECRETS": "whsec_hidden",
    "KEYGEN_ACCOUNT": "nobody",
    "KEYGEN_TOKEN": "hidden",
    "KEYGEN_URL": CLOSED,
    "KEYGEN_POLICIES": ",".join(f"{plan}=policy-of-{plan}" for plan in PLAN_IDS),
    "MAIL": "smtp://127.0.0.1:9",
    "MAIL_FROM": "Shimmy Vision <licences@shimmy.example>",
    "SECRET": "hidden" * 8,
}
SECOND = timedelta(seconds=1)
EVENT_ALARM, PRICE_ALARM = Alarm("event-parked", "evt_1"), Alarm("price-differs", "price_1")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """One command with a good environment; its exit code, and what it said on both streams."""
    settings = {**BASE, "LEDGER": f"sqlite:///{tmp_path / 'ledger.sqlite'}"}
    for name, value in settings.items():
        monkeypatch.setenv(PREFIX + name, value)
    # Nobody else works on these, but in the tests that say so.
    monkeypatch.setattr(work, "_PATIENCE_SECONDS", 0.0)

    def run(*argv: str) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main(list(argv))
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        said = capsys.readouterr()
        assert "hidden" not in said.out + said.err
        return code, said.out, said.err

    return run


@dataclass(frozen=True)
class Street:
    """The town and its mailbox, and the command pointed at both."""

    town: Town
    mailbox: MailboxServer
    run: Run

    def mails(self, to: str) -> list[dict[str, Any]]:
        url = f"{self.mailbox.url}/_sim/messages"
        answer = httpx.get(url, params={"to": to}, trust_env=False, verify=NO_TLS)
        read = answer.json()
        return list(read["messages"] if isinstance(read, dict) else read)


@pytest.fixture
def street(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Street]:
    with open_town(tmp_path / "ledger.sqlite") as town, serve_mailbox() as mailbox:
        # The command knows the real time only.
        town.payments.controls.clock.reset()
        settings = {
            "STRIPE_KEY": town.payments.api_key,
            "STRIPE_URL": town.payments.url,
            "KEYGEN_ACCOUNT": town.keygen.account,
            "KEYGEN_TOKEN": town.keygen.admin_token,
            "KEYGEN_URL": town.keygen.url,
            "KEYGEN_POLICIES": ",".join(f"{plan}={one}" for plan, one in town.policies.items()),
            "MAIL": mailbox.smtp_url,
        }
        for name, value in settings.items():
            monkeypatch.setenv(PREFIX + name, value)
        yield Street(town, mailbox, run)


def test_plans_needs_no_settings(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*BASE, "LEDGER"):
        monkeypatch.delenv(PREFIX + name)
    code, out, err = run("plans")
    assert (code, err) == (0, "")
    assert [line.split()[0].lower() for line in out.splitlines()] == list(PLAN_IDS)
    code, out, _ = run("plans", "--json")
    assert (code, [one["id"] for one in json.loads(out)]) == (0, list(PLAN_IDS))


@pytest.mark.parametrize(
    "argv",
    [
        ("sweep",),
        ("alarms",),
        ("retry", "--all"),
        ("reconcile", "--all"),
        ("serve",),
        ("reconcile", "--customer", "x"),
    ],
)
def test_missing_settings_are_listed_and_exit_with_2(
    run: Run, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...]
) -> None:
    missing = ("STRIPE_KEY", "KEYGEN_TOKEN", "LEDGER")
    for name in missing:
        monkeypatch.delenv(PREFIX + name)
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert all(f"{PREFIX}{name} is not set" in err for name in missing)
    assert "[settings-incomplete]" in err
    assert err.count(PREFIX) == len(missing), "and nothing else"


def test_a_live_key_in_test_mode_does_not_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}STRIPE_KEY", "sk_live_hidden")
    code, _, err = run("sweep")
    assert (code, f"{PREFIX}STRIPE_KEY" in err) == (2, True)


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("sell",),
        ("reconcile",),
        ("reconcile", "--all", "--customer", "cus_1"),
        ("alarms", "--done", "event-parked"),
        ("retry",),
        ("retry", "evt_1", "--all"),
        ("sweep", "--json"),
    ],
)
def test_what_is_no_command_is_explained(run: Run, argv: tuple[str, ...]) -> None:
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert err.startswith("usage: shimmy-store")


def test_help_names_every_command(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert all(name in out and summary in out for name, (_, summary) in COMMANDS.items())
    assert run("--version") == (0, f"shimmy-store {__version__}\n", "")


def test_what_interrupts_it_and_what_is_wrong_with_it_differ(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    def contradict() -> None:
        raise CatalogError("catalog-invalid", "The plans contradict themselves.")

    monkeypatch.setattr(wiring, "catalog", stop)
    assert run("plans")[0] == 130
    monkeypatch.setattr(wiring, "catalog", contradict)
    code, _, err = run("plans")
    assert (code, err) == (
        (2, "shimmy-store: The plans contradict themselves. [catalog-invalid]\n")
    )


def test_a_ledger_that_cannot_be_opened_is_tried_again_later(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(f"{PREFIX}LEDGER", f"sqlite:///{tmp_path / 'none' / 'ledger.sqlite'}")
    code, out, err = run("sweep")
    assert (code, out) == (75, "")
    assert "[ledger-unusable]" in err


def test_an_empty_store_has_nothing_to_do(run: Run) -> None:
    """Nor does it ask anybody: nothing listens where the settings point."""
    settled = "events settled 0, left 0; messages sent 0, left 0\n"
    assert run("sweep") == (0, settled, "")
    assert run("alarms") == (0, "", "")
    assert run("alarms", "--json") == (0, "[]\n", "")


def test_alarms_are_listed_until_somebody_has_looked(street: Street) -> None:
    run, town = street.run, street.town
    assert run("alarms")[0] == 0
    town.ask("raise_alarms", [EVENT_ALARM, PRICE_ALARM], town.now())
    code, out, _ = run("alarms")
    assert (code, [line.split() for line in out.splitlines()]) == (
        (1, [["event-parked", "evt_1"], ["price-differs", "price_1"]])
    )
    code, out, _ = run("alarms", "--json")
    assert (code, json.loads(out)[0]) == (1, {"code": "event-parked", "subject": "evt_1"})
    assert run("alarms", "--done", "event-parked", "evt_1") == (0, "done\n", "")
    again = run("alarms", "--done", "event-parked", "evt_1")
    assert again == (1, "no such alarm is open\n", "")
    assert run("alarms", "--done", "price-differs", "evt_1")[0] == 1
    assert run("alarms")[1].split() == ["price-differs", "price_1"]
    assert run("alarms", "--done", "price-differs", "price_1")[0] == 0
    assert run("alarms") == (0, "", "")


def test_what_was_given_up_is_tried_again_when_somebody_says_so(street: Street) -> None:
    run, town = street.run, street.town
    assert run("sweep")[0] == 0
    for number in (1, 2):
        # A customer that Stripe does not know: no waiting makes that right.
        at, name = town.now(), f"evt_{number}"
        heard = HeardEvent(name, "customer.updated", f"cus_unknown{number}", at, at, "{}")
        town.ask("add_event", heard, "pending")
    assert run("sweep")[0] == 1
    alarms = [(one.code, one.subject) for one in town.ask("open_alarms")]
    assert sorted(alarms) == [("event-parked", "evt_1"), ("event-parked", "evt_2")]
    assert run("sweep")[0] == 1, "parked work is left"
    assert run("retry", "evt_unknown") == (1, "to be tried again 0\n", "")
    assert run("retry", "evt_1") == (0, "to be tried again 1\n", "")
    assert run("retry", "--all") == (0, "to be tried again 1\n", "")
    assert run("retry", "--all") == (0, "to be tried again 0\n", "")
    assert run("alarms") == (0, "", "")
    assert run("sweep")[0] == 1
    assert len(town.ask("open_alarms")) == 2, "tried again, and given up again"


def test_a_ledger_of_the_other_mode_is_not_opened(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("alarms") == (0, "", "")
    monkeypatch.setenv(f"{PREFIX}MODE", "live")
    monkeypatch.setenv(f"{PREFIX}URL", "https://store.example")
    monkeypatch.setenv(f"{PREFIX}STRIPE_KEY", "sk_live_hidden")
    monkeypatch.delenv(f"{PREFIX}STRIPE_URL")
    monkeypatch.delenv(f"{PREFIX}KEYGEN_URL")
    for argv in (("alarms",), ("sweep",)):
        code, out, err = run(*argv)
        assert (code, out) == (2, "")
        assert "[ledger-of-other-mode]" in err


def test_a_mistake_of_ours_is_said_and_the_others_go_on(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    town = street.town
    bad, _ = (town.buy("developer", town.customer(f"{one}@x.example")).customer for one in "ab")
    fetch = StripePayments.fetch

    async def crash(self: StripePayments, customer: str) -> Purchases:
        if customer == bad:
            raise ZeroDivisionError("hidden")
        return await fetch(self, customer)

    monkeypatch.setattr(StripePayments, "fetch", crash)
    code, out, err = street.run("reconcile", "--all")
    assert (code, out.splitlines()[-1]) == (1, "customers 2: failed 1, settled 1")
    assert err == "shimmy-store: a mistake of ours: ZeroDivisionError [crashed]\n"
    town.work(rounds=0)
    code, out, err = street.run("sweep")
    assert (code, "ZeroDivisionError [crashed]" in err) == (1, True)
    assert town.count_licences() == 1


def test_a_sweep_settles_what_was_heard_and_sends_its_mail(street: Street) -> None:
    bought = street.town.buy("startup", street.town.customer())
    street.town.work(rounds=0)
    code, out, err = street.run("sweep")
    assert (code, err) == (0, "")
    assert "left 0; messages sent 1, left 0" in out
    assert not out.startswith("events settled 0")
    licence = street.town.licence(bought.subscription)
    (mail,) = street.mails("buyer@example.com")
    assert licence.key in mail["text"]
    assert licence.key not in out
    again = street.run("sweep")
    assert again == (0, "events settled 0, left 0; messages sent 0, left 0\n", "")
    assert len(street.mails("buyer@example.com")) == 1


def test_a_sweep_says_what_is_left(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    street.town.buy("developer", street.town.customer())
    street.town.work(rounds=0)
    street.town.keygen.controls.faults.add(Fault("status", path="/v1/", times=50, status=503))
    code, out, _ = street.run("sweep")
    assert code == 1
    assert out.startswith("events settled 0, left ")
    assert not out.startswith("events settled 0, left 0")
    street.town.keygen.controls.faults.clear()
    monkeypatch.setenv(f"{PREFIX}MAIL", "smtp://127.0.0.1:9")
    assert street.run("reconcile", "--all")[0] == 0
    code, out, _ = street.run("sweep")
    assert (code, out) == (1, "events settled 0, left 0; messages sent 0, left 1\n")
    assert street.mails("buyer@example.com") == []


def test_reconcile_heals_what_no_webhook_told_of(street: Street) -> None:
    town = street.town
    first = town.buy("developer", town.customer("first@example.com"))
    second = town.buy("lifetime", town.customer("second@example.com"))
    code, out, _ = street.run("reconcile", "--customer", first.customer)
    assert (code, out) == (0, f"{first.customer} settled\n")
    assert town.count_licences() == 1
    code, out, _ = street.run("reconcile", "--all")
    assert (code, out) == (0, "customers 2: settled 2\n")
    assert town.count_licences() == 2
    assert town.licence(second.payment_intent).plan == "lifetime"
    assert street.run("sweep")[1].endswith("messages sent 2, left 0\n")


def test_a_sweep_waits_for_what_somebody_else_has_in_hand(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a store that runs everything is in hand for a moment: that is not "left"."""
    monkeypatch.setattr(work, "_PATIENCE_SECONDS", 60.0)
    town = street.town
    bought = town.buy("developer", town.customer())
    town.work(rounds=0)
    now = town.now()
    leased = town.ask("lease_customer", bought.customer, "another", now, now + 2 * SECOND)
    code, out, _ = street.run("sweep")
    assert (code, "left 0; messages sent 1, left 0" in out) == (0, True)
    assert leased is not None
    now = town.now()
    town.ask(
        "add_message",
        Notice("failed/1", "renewal-failed", {"plan": "developer"}),
        bought.customer,
        now,
    )
    assert len(town.ask("take_messages", now, now + 2 * SECOND, 1)) == 1
    settled = "events settled 0, left 0; messages sent 1, left 0\n"
    assert street.run("sweep") == (0, settled, "")


def test_reconcile_waits_for_whom_somebody_else_looks_at(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "_PATIENCE_SECONDS", 60.0)
    town = street.town
    street.run("alarms")
    customers = [town.buy("developer", town.customer(f"{one}@x.example")).customer for one in "abc"]
    for argv in (("--all",), ("--customer", customers[1])):
        now = town.now()
        leased = town.ask("lease_customer", customers[1], "another", now, now + 2 * SECOND)
        assert leased is not None
        code, out, _ = street.run("reconcile", *argv)
        assert (code, "busy" in out) == (0, False)
        assert out.endswith("settled\n" if argv[0] == "--customer" else "customers 3: settled 3\n")


def test_reconcile_of_nobody_finds_nobody(street: Street) -> None:
    assert street.run("reconcile", "--all") == (0, "customers 0\n", "")


def test_reconcile_says_who_failed_and_goes_on(street: Street) -> None:
    town = street.town
    customers = [
        town.buy("developer", town.customer(f"{number}@example.com")).customer
        for number in range(3)
    ]
    failing = customers[1]
    town.payments.controls.faults.add(
        Fault("status", path=f"/v1/customers/{failing}", times=50, status=400)
    )
    code, out, _ = street.run("reconcile", "--all")
    assert code == 1
    first, last = out.splitlines()
    assert first.split()[:2] == [failing, "failed"]
    assert last == "customers 3: failed 1, settled 2"
    assert town.count_licences() == 2


def test_a_customer_somebody_works_on_is_busy(street: Street) -> None:
    town = street.town
    street.run("alarms")
    until = town.now() + timedelta(days=1)
    assert town.ask("lease_customer", "cus_1", "another", town.now(), until) is not None
    assert street.run("reconcile", "--customer", "cus_1") == (1, "cus_1 busy\n", "")


def test_an_unknown_customer_is_an_error_and_an_unreachable_stripe_a_wait(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = street.run("reconcile", "--customer", "cus_unknown")
    assert (code, out) == (1, "")
    assert "[payments-refused]" in err
    monkeypatch.setenv(f"{PREFIX}STRIPE_URL", CLOSED)
    for argv in (("reconcile", "--customer", "cus_1"), ("reconcile", "--all")):
        code, out, err = street.run(*argv)
        assert (code, out) == (75, "")
        assert "[payments-unreachable]" in err
