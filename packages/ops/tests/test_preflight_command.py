"""``shimmy-ops preflight`` before a town that is ready, and before one that does not answer."""

from __future__ import annotations

import io
import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ready_town import ReadyTown, judged, live_profile, open_ready_town
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from shimmy_ops.adapters.gathering.web_pages import WebPages
from shimmy_ops.cli.main import main
from shimmy_ops.domain.preflight.registry import CHECKS, choose_checks, needed_sources
from shimmy_ops.domain.preflight.store_checks import LEDGER_SCHEMA
from shimmy_ops.errors import ProfileError
from shimmy_ops.wiring.accounts import http_client
from shimmy_sandbox.simulation.faults import Fault
from shimmy_sandbox.simulation.loopback import serve_on_loopback
from shimmy_store.adapters.ledger_schema import MIGRATIONS

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

# What a sandbox on loopback has not, and test_preflight_breaks.py judges from facts.
SKIPPED = {
    "stripe-charges", "stripe-payouts", "stripe-details", "keygen-accounts-apart",
    "certificate-good", "certificate-lasts", "tls-modern", "http-redirects",
    "addresses-real", "tree-clean", "models-real", "worker-secrets",
}  # fmt: skip
_TEXT = {"type": "string", "minLength": 1}
_CHECK = {
    "type": "object",
    "additionalProperties": False,
    "required": ["id", "family", "level", "title", "outcome", "found", "remedy"],
    "properties": {
        "id": {"type": "string", "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$"},
        "family": _TEXT,
        "level": {"enum": ["error", "warning", "info"]},
        "title": _TEXT,
        "outcome": {"enum": ["held", "failed", "unknown", "skipped"]},
        "found": _TEXT,
        "remedy": {"type": ["string", "null"], "minLength": 1},
    },
}
_OUTCOMES = ["held", "failed", "unknown", "skipped"]
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["profile", "time", "versions", "passed", "counts", "checks"],
    "properties": {
        "profile": {"enum": ["sandbox", "test", "live"]},
        "time": {"type": "string", "format": "date-time"},
        "versions": {
            "type": "object",
            "required": ["shimmy-ops", "shimmy-store", "python"],
            "additionalProperties": {"type": ["string", "null"]},
        },
        "passed": {"type": "boolean"},
        "counts": {
            "type": "object",
            "required": _OUTCOMES,
            "additionalProperties": False,
            "properties": {name: {"type": "integer", "minimum": 0} for name in _OUTCOMES},
        },
        "checks": {"type": "array", "items": _CHECK},
    },
}


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReadyTown]:
    with (
        pytest.MonkeyPatch.context() as patch,
        open_ready_town(tmp_path_factory.mktemp("ready"), patch) as town,
    ):
        yield town


def test_a_ready_town_passes_every_check_that_it_can(
    ready: ReadyTown, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # How fast it is depends on what else this machine does now.
    monkeypatch.setattr("shimmy_ops.domain.preflight.store_checks._FAST_SECONDS", 10)
    ran = ready.preflight(capsys, "--json", "--strict")
    jsonschema.validate(ran.document, SCHEMA)
    outcomes = ran.outcomes
    assert {one for one, came in outcomes.items() if came == "skipped"} == SKIPPED
    assert {one for one, came in outcomes.items() if came != "held"} == SKIPPED, ran.out
    assert list(outcomes) == [one.id for one in CHECKS]
    assert (ran.code, ran.document["passed"]) == (0, True)
    assert ran.document["counts"]["held"] == len(CHECKS) - len(SKIPPED)
    assert ran.document["versions"]["shimmy-store"] == ran.document["versions"]["shimmy-ops"]


def test_the_text_has_a_sign_for_each_check_below_its_family(
    ready: ReadyTown, capsys: pytest.CaptureFixture[str]
) -> None:
    with ready.set_up(operator_mail=None):
        ran = ready.preflight(capsys, "--only", "mail,clock-stripe")
    assert ran.out.splitlines() == [
        "clock",
        "  ✓ This machine's clock is Stripe's (clock-stripe)",
        "mail",
        "  ✗ Somebody gets the store's test mails [warning] (operator-mail)",
        "      operator_mail is not set: nobody gets the store's test mails.",
        "      To do: Set operator_mail in the profile.",
        "  – Store sends mail (mail-goes-out)",  # noqa: RUF001
        "      operator_mail is not set.",
        "1 held, 1 failed, 1 skipped: ready",
    ]
    assert (ran.code, ran.err) == (0, "")


def test_a_terminal_without_unicode_gets_plain_signs(
    ready: ReadyTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    given = ["preflight", "--profile", "sandbox", "--config", str(ready.config)]
    assert main([*given, "--only", "operator-mail"]) == 0
    assert b"  + Somebody gets" in raw.getvalue()


def test_a_terminal_sees_how_far_it_is(
    ready: ReadyTown, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    ran = ready.preflight(capsys, "--only", "store-health,webhook-alone")
    # Who answers first is chance.
    asked = re.findall(r"\rasked (\d) of 3: (\w+) *", ran.err)
    assert [number for number, _ in asked] == ["1", "2", "3"]
    assert {source for _, source in asked} == {"desired", "billing", "health"}
    assert ran.err.endswith("\r")


def test_probes_leave_one_event_a_day_and_nothing_to_do(
    ready: ReadyTown, capsys: pytest.CaptureFixture[str]
) -> None:
    began = datetime.fromtimestamp((ready.folder / "store.env").stat().st_mtime, UTC).date()
    for _ in range(3):
        assert ready.preflight(capsys, "--only", "webhook,mail").code == 0
    with closing(sqlite3.connect(ready.folder / "ledger.sqlite")) as ledger:
        kept = ledger.execute("SELECT type, state FROM events").fetchall()
        alarms = ledger.execute("SELECT COUNT(*) FROM alarms").fetchone()[0]
        mails = ledger.execute("SELECT COUNT(*) FROM outbox").fetchone()[0]
    # Two where midnight has passed since the town was opened.
    days = (datetime.now(UTC).date() - began).days + 1
    assert set(kept) == {("shimmy.preflight.probe", "unknown")} and len(kept) <= days
    assert (alarms, mails) == (0, 0)
    assert len(ready.operated.store.mails("operator@shimmy.example")) >= 3


def test_only_what_the_chosen_checks_need_is_asked(
    ready: ReadyTown, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = ready.operated.town.stripe.controls.seen
    seen.clear()
    ran = ready.preflight(capsys, "--only", "store,backups", "--skip", "store-pricing", "--json")
    # The store itself asks Stripe whether it is there, when it is asked for its health.
    assert {one["path"] for one in seen} <= {"/v1/prices"}
    families = {one["family"] for one in ran.document["checks"]}
    assert families == {"store", "backups"} and "store-pricing" not in ran.outcomes
    assert "deliveries" not in needed_sources(choose_checks(["store", "backups"], []))


def test_the_list_names_each_check_and_runs_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preflight", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [one.id for one in CHECKS]
    assert main(["preflight", "--list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["id"], row["title"]) for row in rows] == [(one.id, one.title) for one in CHECKS]


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["--profile", "sandbox", "--only", "store-helth"], "check-unknown"),
        (["--profile", "sandbox", "--skip", "everything"], "check-unknown"),
        (["--profile", "sandbox", "--only", "mail", "--skip", "mail"], "no-check-chosen"),
        ([], "profile-not-named"),
        (["--profile", "sandbox", "--config", "missing.toml"], "profile-file-unreadable"),
    ],
)
def test_wrong_orders_are_refused_before_anything_is_asked(
    argv: list[str], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["preflight", *argv]) == 2
    told = capsys.readouterr().err
    assert f"[{code}]" in told
    if code == "check-unknown":
        assert all(one.id in told for one in CHECKS)


@given(
    st.lists(st.sampled_from([one.id for one in CHECKS])),
    st.lists(st.sampled_from([one.id for one in CHECKS])),
)
def test_only_and_skip_are_what_sets_say(only: list[str], skip: list[str]) -> None:
    left = [one.id for one in CHECKS if (not only or one.id in only) and one.id not in skip]
    if not left:
        with pytest.raises(ProfileError, match="No check is left"):
            choose_checks(only, skip)
        return
    assert [one.id for one in choose_checks(only, skip)] == left


def test_who_does_not_answer_hides_nothing_of_the_others(
    ready: ReadyTown, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = ready.operated.town.stripe.controls.faults
    faults.add(Fault("status", times=-1, status=503))
    try:
        ran = ready.preflight(capsys, "--json", "--only", "credentials,catalog,payments,clock")
    finally:
        faults.clear()
    came = ran.outcomes
    assert (came["stripe-answers"], came["stripe-prices"]) == ("failed", "unknown")
    assert (came["keygen-answers"], came["keygen-policies"]) == ("held", "held")
    assert (came["contracts-readable"], came["clock-store"]) == ("held", "held")
    shown = {one["id"]: one for one in ran.document["checks"]}
    assert "billing-unreachable" in shown["portal-active"]["found"]
    assert ran.code == 1


def test_a_backup_that_was_just_made_is_what_it_looks_for(
    ready: ReadyTown, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = ready.backups.read_text()
    ready.backups.unlink()
    given = ["--profile", "sandbox", "--config", str(ready.config)]
    try:
        assert main(["backup", "make", *given]) == 0
        capsys.readouterr()
        assert ready.preflight(capsys, "--only", "backups", "--strict").code == 0
    finally:
        ready.backups.write_text(kept)


def test_a_profile_with_nothing_behind_it_is_told_all_of_it_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    config = tmp_path / "shimmy-ops.toml"
    config.write_text(
        '[live]\nstore_url = "https://store.shimmy.invalid"\nkeygen_account = "shimmy"\n'
        'mail_from = "a@shimmy.invalid"\n[test]\nkeygen_account = "shimmy-test"\n'
        'store_url = "https://test.shimmy.invalid"\nmail_from = "a@shimmy.invalid"\n'
    )
    monkeypatch.chdir(tmp_path)
    given = ["preflight", "--profile", "live", "--config", str(config), "--json"]
    # Stripe's clock is at Stripe, whom no test asks.
    assert main([*given, "--skip", "clock"]) == 1
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, SCHEMA)
    came = {one["id"]: one["outcome"] for one in document["checks"]}
    assert {one for one, outcome in came.items() if outcome == "held"} == {
        "contracts-readable", "secrets-outside-git", "webhook-at-store", "models-real",
    }  # fmt: skip
    assert came["store-resolves"] == came["stripe-answers"] == came["addresses-real"] == "failed"
    assert came["certificate-good"] == came["http-redirects"] == came["stripe-prices"] == "unknown"


def test_redirects_are_looked_at_and_not_followed(ready: ReadyTown) -> None:
    async def lead(_request: Request) -> Response:
        return RedirectResponse("https://store.shimmy.app/", 308)

    app = Starlette(routes=[Route("/", lead)])
    with serve_on_loopback(app) as served, http_client(ready.operated.profile(), "") as client:
        page = WebPages(client).look(served.url, {})
    assert judged("http-redirects", live_profile(), {"insecure": page})[0] == "held"


def test_what_is_unknown_fails_where_it_is_an_error(
    ready: ReadyTown, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = ready.backups.read_text()
    ready.backups.write_text("[{")
    try:
        loose = ready.preflight(capsys, "--only", "backup-recent", "--json")
        strict = ready.preflight(capsys, "--only", "backup-recent", "--strict")
    finally:
        ready.backups.write_text(kept)
    assert loose.outcomes == {"backup-recent": "unknown"} and loose.code == 0
    assert strict.code == 1 and "  ? A backup" in strict.out and "NOT ready" in strict.out
    with ready.set_up(store_url="http://127.0.0.1:9"):
        assert ready.preflight(capsys, "--only", "store-mode").code == 1


def test_ctrl_c_ends_it_while_somebody_hangs(ready: ReadyTown, tmp_path: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = tmp_path / "shimmy-ops.toml"
        place = f"http://127.0.0.1:{silent.getsockname()[1]}"
        text = ready.config.read_text()
        config.write_text(text.replace(ready.settings["store_url"], place))
        call = "import sys; from shimmy_ops.cli.main import main; sys.exit(main())"
        given = ["preflight", "--profile", "sandbox", "--config", str(config)]
        asked = subprocess.Popen(
            [sys.executable, "-c", call, *given, "--only", "store-health"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            # Whoever starts the tests in the background has Ctrl-C ignored in all they start.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        silent.settimeout(60)
        connection, _ = silent.accept()
        with connection:
            asked.send_signal(signal.SIGINT)
            _, told = asked.communicate(timeout=60)
    assert (asked.returncode, b"stopped" in told) == (130, True)
    assert threading.active_count() < 50


def test_checks_that_the_launch_plan_names_exist() -> None:
    plan = Path(__file__).resolve().parents[3] / "contracts" / "launch_plan.toml"
    named = [
        order[order.index("--only") + 1]
        for task in tomllib.loads(plan.read_text())["task"]
        for order in (task.get("verify", ()), task.get("rehearse", ()))
        if "preflight" in order and "--only" in order
    ]
    assert named and all(choose_checks(one.split(","), []) for one in named)


def test_the_schema_that_these_tools_know_is_the_stores() -> None:
    assert len(MIGRATIONS) == LEDGER_SCHEMA
