"""The store sells, and monitoring sees it: right figures, one source down at a time, alerts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest
from bought_customers import buyer, until_delivered
from operated_town import OperatedTown
from provisioning_town import ProvisioningTown
from store_server import eventually

from shimmy_ops.adapters.keeping.private_files import write_private
from shimmy_ops.domain.monitoring.alerting import firing_alerts
from shimmy_ops.domain.monitoring.picture import (
    Alarms,
    Availability,
    Drift,
    Losses,
    Outbox,
    Picture,
    Requests,
    Revenue,
    StripeDelivery,
    Support,
    Unknown,
    Webhooks,
)
from shimmy_ops.domain.monitoring.samples import Sample
from shimmy_ops.errors import MonitorError
from shimmy_ops.wiring.monitoring import Monitor
from shimmy_sandbox.simulation.faults import Fault
from shimmy_store.domain.catalog import PLAN_IDS

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
DISPUTED = "4000000000000259"
TICKETS = "opened,first_reply,closed\n2026-11-26T09:00:00Z,2026-11-26T10:00:00Z,\n"
SECTIONS = {
    "requests": Requests, "availability": Availability, "webhooks": Webhooks,
    "stripe_delivery": StripeDelivery, "outbox": Outbox, "alarms": Alarms, "drift": Drift,
    "losses": Losses, "revenue": Revenue, "support": Support,
}  # fmt: skip


def _monitor(operated: OperatedTown, **changes: Any) -> Monitor:
    return Monitor(replace(operated.profile(), **changes), operated.folder)


def _refuse_licences(operated: OperatedTown) -> None:
    fault = Fault("status", method="POST", path="licenses", times=-1, status=422)
    operated.town.keygen.controls.faults.add(fault)


def _days_pass(operated: OperatedTown) -> bool:
    """For what failed so far: five days, and tries enough, so that it is given up."""
    with closing(sqlite3.connect(operated.folder / "ledger.sqlite", timeout=10)) as ledger, ledger:
        changed = ledger.execute(
            "UPDATE events SET attempts = 70, received = received - ?, again = 0"
            " WHERE state = 'pending' AND attempts BETWEEN 1 AND 69",
            (5 * 86400 * 1_000_000,),
        )
        return changed.rowcount > 0


def _bad_purchase(operated: OperatedTown, plan: str, email: str) -> None:
    """Paid, and never fulfilled."""
    store = operated.store
    way = store.visitor().open(f"/buy?plan={plan}")
    store.pay(way.headers["location"], email)


def _parked(monitor: Monitor) -> bool:
    found = monitor.picture(1).webhooks
    return isinstance(found, Webhooks) and found.parked > 0 and found.pending == 0


def test_sales_refund_dispute_and_a_parked_event_are_all_seen(operated: OperatedTown) -> None:
    sdk = operated.town.sdk.v1
    startup = buyer(operated, "startup", "ada@example.com")
    buyer(operated, "developer", "bob@example.com")
    lifetime = buyer(operated, "lifetime", "eve@example.com")
    (charge,) = sdk.charges.list({"customer": lifetime.customer}).data
    sdk.refunds.create({"charge": charge.id})
    store = operated.store
    way = store.visitor().open("/buy?plan=professional")
    store.pay(way.headers["location"], "dan@example.com", DISPUTED)
    eventually(lambda: list(sdk.disputes.list({}).data))
    first = _monitor(operated)
    # What is delivered between two looks of a picture would be seen by neither of them.
    until_delivered(operated)
    eventually(lambda: _settled(first))
    _refuse_licences(operated)
    _bad_purchase(operated, "enterprise", "fay@example.com")
    eventually(lambda: not _days_pass(operated) and _parked(first))
    operated.town.heal()
    # Another one: both accounts are read afresh.
    monitor = _monitor(operated)
    monitor.sample(60)
    found = monitor.picture(1)
    _check_money(found)
    assert isinstance(found.drift, Drift)
    assert [one.kind for one in found.drift.mismatches] == ["paid-without-licence"]
    assert found.drift.mismatches[0].subject != startup.customer
    assert isinstance(found.alarms, Alarms)
    codes = {one.code for one in found.alarms.open}
    assert codes >= {"dispute-open", "event-parked"}
    assert isinstance(found.requests, Requests)
    bought = {one.endpoint: one.total for one in found.requests.endpoints}
    assert (bought["buy"], found.requests.overall.errors) == (5, 0)
    assert isinstance(found.outbox, Outbox)
    assert found.outbox.sent >= 3
    assert found.outbox.sending.p99 is not None
    assert {one.id: one.state for one in found.objectives}["drift"] == "missed"
    told = json.dumps([repr(found)])
    assert "@example.com" not in told
    assert startup.key not in told


def _settled(monitor: Monitor) -> bool:
    found = monitor.picture(1)
    return (
        isinstance(found.webhooks, Webhooks)
        and found.webhooks.pending == 0
        and isinstance(found.stripe_delivery, StripeDelivery)
        and found.stripe_delivery.undelivered == 0
    )


def _check_money(found: Picture) -> None:
    assert isinstance(found.revenue, Revenue)
    tiers = {one.plan: (one.active, one.mrr, one.new) for one in found.revenue.tiers}
    assert tiers == {
        "developer": (1, 1200, 1), "professional": (1, 2900, 1), "startup": (1, 7900, 1),
        "enterprise": (1, 29900, 1), "lifetime": (0, 0, 0),
    }  # fmt: skip
    assert list(tiers) == list(PLAN_IDS)
    assert (found.revenue.mrr, found.revenue.lifetime_amount) == (41900, 49900)
    assert found.revenue.churn is None
    assert isinstance(found.losses, Losses)
    assert (found.losses.refunds, found.losses.refunded) == (1, 49900)
    assert (found.losses.disputes, found.losses.disputed, found.losses.open_disputes) == (
        1,
        2900,
        1,
    )


def _unknown(found: Picture) -> set[str]:
    return {name for name in SECTIONS if isinstance(getattr(found, name), Unknown)}


def _down_stripe(operated: OperatedTown, _: pytest.MonkeyPatch) -> None:
    operated.town.stripe.controls.faults.add(Fault("no-request", times=-1))


def _down_keygen(operated: OperatedTown, _: pytest.MonkeyPatch) -> None:
    operated.town.keygen.controls.faults.add(Fault("no-request", times=-1))


def _no_key(_: OperatedTown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHIMMY_OPS_SANDBOX_STRIPE_KEY")


def _no_token(operated: OperatedTown, _: pytest.MonkeyPatch) -> None:
    (operated.folder / "secrets" / "operator-token").unlink()


def _no_metrics(operated: OperatedTown, _: pytest.MonkeyPatch) -> None:
    (operated.folder / "secrets" / "metrics-token").unlink()


def _no_tickets(operated: OperatedTown, _: pytest.MonkeyPatch) -> None:
    (operated.folder / "tickets.csv").unlink()


Break: TypeAlias = Callable[[OperatedTown, pytest.MonkeyPatch], None]
STORE = {"webhooks", "outbox", "alarms"}
STRIPE = {"stripe_delivery", "drift", "losses", "revenue"}


BREAKS: tuple[tuple[Break, set[str], set[str]], ...] = (
    (_down_stripe, STRIPE, {"endpoint"}),
    (_no_key, STRIPE, {"endpoint"}),
    (_down_keygen, {"drift"}, set()),
    (_no_token, STORE, {"alarms"}),
    (_no_metrics, {"requests"}, {"metrics"}),
    (_no_tickets, {"support"}, {"tickets"}),
)


def test_one_source_that_is_down_never_blanks_the_rest(
    operated: OperatedTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    operated.store.visitor().open("/pricing")
    monkeypatch.setattr("shimmy_ops.wiring.accounts.open_stripe.__wrapped__.__defaults__", (0,))
    kept = {one: one.read_text() for one in (operated.folder / "secrets").iterdir()}
    for broken, dark, unread in BREAKS:
        (operated.folder / "tickets.csv").write_text(TICKETS)
        # What was sampled before would still be shown.
        changes = {"tickets_file": "tickets.csv", "state_folder": broken.__name__}
        with monkeypatch.context() as patched:
            broken(operated, patched)
            monitor = _monitor(operated, **changes)
            sample = monitor.sample(60)
            found = monitor.picture(1)
        assert set(sample.findings.unread) == unread, broken
        assert _unknown(found) == dark, broken
        there = SECTIONS.keys() - dark
        assert all(isinstance(getattr(found, name), SECTIONS[name]) for name in there)
        operated.town.heal()
        for file, text in kept.items():
            write_private(file, text)


def test_a_store_that_is_gone_is_down_and_everything_else_is_there(operated: OperatedTown) -> None:
    (operated.folder / "tickets.csv").write_text(TICKETS)
    gone = _monitor(operated, store_url="http://127.0.0.1:9", tickets_file="tickets.csv")
    for _ in range(2):
        assert not gone.sample(60).up
    found = gone.picture(1)
    assert _unknown(found) == {"requests", *STORE}
    assert isinstance(found.availability, Availability)
    assert (found.availability.ratio, found.availability.up_now) == (0.0, False)
    assert firing_alerts(gone.alert())[0].key == "burn-page-availability"
    assert "store-down" in {one.key for one in gone.picture(1).alerts}


def test_samples_that_cannot_be_read_are_said(town: ProvisioningTown) -> None:
    state = town.folder / town.profile().state_folder
    state.mkdir(parents=True)
    (state / "samples.sqlite").write_bytes(b"x" * 4096)
    (state / "alerts.json").write_text("{")
    monitor = Monitor(town.profile(), town.folder)
    with pytest.raises(MonitorError):
        monitor.sample(60)
    found = monitor.picture(1)
    for section in (found.requests, found.availability):
        assert isinstance(section, Unknown)
        assert "[samples-unusable]" in section.reason
    assert isinstance(found.revenue, Revenue)
    assert [one.key for one in found.alerts] == ["alerts-unreadable"]


def _config(operated: OperatedTown, **changes: Any) -> None:
    operated.town.write_config(store_url=operated.store.url, **changes)


def test_the_commands_sample_alert_check_and_show(
    operated: OperatedTown, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _config(operated, alert_mail="ops@shimmy.example")
    monkeypatch.setenv("SHIMMY_OPS_SANDBOX_MAIL", operated.mailbox.smtp_url)
    # How fast the store is depends on what else this machine does now.
    for promise in ("P99_SECONDS", "SETTLING_SECONDS", "MAIL_SECONDS"):
        monkeypatch.setattr(f"shimmy_ops.domain.monitoring.objectives.{promise}", 600)
    town = operated.town
    buyer(operated, "startup", "ada@example.com")
    assert town.run(capsys, "monitor", "sample").out.startswith("up in ")
    checked = town.run(capsys, "monitor", "check", "--hours", "1", "--json")
    figures = json.loads(checked.out)
    assert (checked.code, figures["held"], figures["missed"]) == (3, False, [])
    assert {"coverage"} == {one.partition(":")[0] for one in figures["unknown"]}
    bare = town.run(capsys, "monitor", "check", "--hours", "1", "--min-coverage", "0", "--json")
    figures = json.loads(bare.out)
    assert (bare.code, figures["held"], figures["state"]) == (0, True, "held")
    assert figures.keys() == {
        "error_rate", "availability", "p99_seconds", "settling_p99_seconds", "mail_p99_seconds",
        "drift", "coverage", "window_hours", "held", "state", "missed", "unknown",
    }  # fmt: skip
    shown = town.run(capsys, "monitor")
    assert (shown.code, "$79.00" in shown.out) == (0, True)
    assert json.loads(town.run(capsys, "monitor", "--json").out)["revenue"]["mrr"] == 7900
    page = operated.folder / "page.html"
    assert town.run(capsys, "monitor", "--html", str(page)).code == 0
    assert page.read_text().startswith("<!doctype html>")
    assert town.run(capsys, "monitor", "alert-test").out == "mail: sent\n"
    endpoint = town.sdk.v1.webhook_endpoints.list({}).data[0]
    town.sdk.v1.webhook_endpoints.update(endpoint.id, {"disabled": True})
    for _ in range(2):
        sampled = json.loads(town.run(capsys, "monitor", "sample", "--json").out)
        assert (sampled["firing"], sampled["unsent"]) == (["webhook-endpoint"], [])
    texts = [one["text"] for one in operated.store.mails("ops@shimmy.example")]
    assert len(texts) == 2, "the trial and one alert"
    assert "The webhook endpoint is disabled" in texts[-1]
    missed = town.run(capsys, "monitor", "check", "--hours", "1", "--min-coverage", "0")
    assert missed.code == 0, "an endpoint is no objective"


def test_watching_samples_and_says_a_line_until_it_is_stopped(
    operated: OperatedTown, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _config(operated)
    waits = iter([None, None])

    def wait(seconds: float) -> None:
        assert seconds == 3600
        if next(waits, "enough") == "enough":
            raise KeyboardInterrupt

    monkeypatch.setattr("shimmy_ops.cli.dashboard.watching.time", SimpleNamespace(sleep=wait))
    watched = operated.town.run(capsys, "monitor", "--watch", "--interval", "3600")
    assert (watched.code, len(watched.out.splitlines())) == (130, 3)
    assert "availability 100 %" in watched.out
    # Looked at three times within an interval, and sampled once.
    samples = _monitor(operated).sources.samples.since(datetime.now(UTC) - timedelta(hours=1))
    assert len(list(samples)) == 1


def test_a_sample_of_a_clock_that_was_ahead_hides_nothing(town: ProvisioningTown) -> None:
    """Nothing answers here. A sample of next year that was well would be the newest for a year."""
    monitor = Monitor(town.profile(), town.folder)
    year = datetime.now(UTC) + timedelta(days=365)
    monitor.sources.samples.add(Sample(year, 60, True, 0.1))
    for _ in range(2):
        monitor.sample(60)
    assert "store-down" in {one.key for one in monitor.alert()}
    picture = monitor.picture(1)
    assert not isinstance(picture.availability, Unknown)
    assert (picture.availability.probes, picture.availability.up_now) == (2, False)


def test_a_backup_that_is_too_old_is_alerted(town: ProvisioningTown) -> None:
    state = town.folder / town.profile().state_folder
    state.mkdir(parents=True)
    monitor = Monitor(town.profile(), town.folder)
    for hours, keys in ((25, set()), (27, {"backup-old"})):
        made = datetime.now(UTC) - timedelta(hours=hours)
        record = {"file": "x", "made": made.isoformat(), "verified": None, "sha256": "", "rows": 1}
        write_private(state / "backups.json", json.dumps([record]))
        monitor.sample(60)
        assert {one.key for one in monitor.alert()} & {"backup-old", "unread:backup"} == keys


@pytest.mark.parametrize(
    ("variable", "value", "code"),
    [
        ("MAIL", "smtp://mail.example:25", "credential-outside"),
        ("ALERT_WEBHOOK", "https://hooks.example/x", "credential-outside"),
        ("MAIL", "smtp://127.0.0.1:25", "alert-mail-missing"),
    ],
)
def test_a_sandbox_tells_nobody_outside_and_mail_needs_a_reader(
    town: ProvisioningTown,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    code: str,
) -> None:
    monkeypatch.setenv(f"SHIMMY_OPS_SANDBOX_{variable}", value)
    ran = town.run(capsys, "monitor", "alert-test")
    assert (ran.code, code in ran.err, value in ran.err) == (2, True, False)


def test_without_a_channel_the_trial_of_alerts_fails(
    town: ProvisioningTown, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = town.run(capsys, "monitor", "alert-test")
    assert (ran.code, "nobody can be told" in ran.err) == (1, True)


@pytest.mark.parametrize("given", [("--hours", "nan"), ("--interval", "0"), ("--window", "2h")])
def test_numbers_that_make_no_sense_are_refused(
    town: ProvisioningTown, capsys: pytest.CaptureFixture[str], given: tuple[str, str]
) -> None:
    with pytest.raises(SystemExit) as left:
        town.run(capsys, "monitor", "check", *given)
    assert left.value.code == 2
