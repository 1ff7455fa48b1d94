"""``shimmy-ops provision`` and ``profile show`` as the operator sees them: words, JSON, codes."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from provisioning_town import ProvisioningTown

from shimmy_ops.cli import provision
from shimmy_ops.cli.exit_codes import exit_code
from shimmy_ops.cli.main import main
from shimmy_ops.domain.profile import Profile
from shimmy_ops.errors import BillingError, ContractError, OpsError, ProfileError, ProvisionError
from shimmy_sandbox.simulation.faults import Fault

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
Capture = pytest.CaptureFixture[str]


def test_the_plan_is_shown_and_changes_nothing(town: ProvisioningTown, capsys: Capture) -> None:
    shown = town.run(capsys, "provision")
    assert shown.code == 3
    assert "+ price startup\n" in shown.out and "    unit_amount: 7900\n" in shown.out
    assert shown.out.endswith("25 changes pending\n")
    again = town.run(capsys, "provision", "--plan")
    assert again == shown
    for server in (town.stripe, town.keygen):
        assert {one["method"] for one in server.controls.seen} == {"GET"}


def test_applied_it_is_as_the_catalog_says(town: ProvisioningTown, capsys: Capture) -> None:
    written = town.folder / "store.env"
    done = town.run(capsys, "provision", "--apply", "--write-env", str(written))
    assert done.code == 0, done.err
    lines = done.err.splitlines()
    taken = [one for one in lines if one.startswith("done + ")]
    assert len(taken) == len(set(taken)) == 25, done.err
    assert {"done: everything is as the catalog says", f"written: {written}"} <= set(lines)
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    text = written.read_text()
    assert "SHIMMY_STORE_WEBHOOK_SECRETS_FILE=" in text and "SHIMMY_STORE_PORTAL=bpc_" in text
    assert f"SHIMMY_STORE_KEYGEN_PUBLIC_KEY={town.keygen.public_key}\n" in text
    assert not any(secret in text for secret in town.secrets())
    again = town.run(capsys, "provision", "--apply")
    assert (again.code, again.out, again.err) == (0, "nothing to do\n", "")
    written.unlink()
    assert town.run(capsys, "provision", "--write-env", str(written)).code == 0
    assert written.read_text() == text


def test_drift_is_a_diff_in_words_and_in_json(town: ProvisioningTown, capsys: Capture) -> None:
    town.run(capsys, "provision", "--apply")
    town.sdk.v1.products.update("startup", {"name": "Mug"})
    shown = town.run(capsys, "provision")
    assert shown.code == 3
    assert '~ product startup (startup)\n    name: "Mug" -> "Shimmy Vision Startup"\n' in shown.out
    assert shown.out.endswith("1 change pending\n")
    document = json.loads(town.run(capsys, "provision", "--json").out)
    assert document == {
        "profile": "sandbox",
        "steps": [
            {
                "action": "change",
                "kind": "product",
                "key": "startup",
                "id": "startup",
                "attributes": {},
                "changes": [{"path": "name", "before": "Mug", "after": "Shimmy Vision Startup"}],
            }
        ],
        "notes": [],
    }


def test_json_of_an_empty_account_names_prices_to_come(
    town: ProvisioningTown, capsys: Capture
) -> None:
    shown = town.run(capsys, "provision", "--json")
    steps = {(one["kind"], one["key"]): one for one in json.loads(shown.out)["steps"]}
    portal = steps["portal", "store"]["attributes"]["features"]["subscription_update"]
    assert portal["products"][0]["prices"] == ["(the new price of developer)"]
    applied = town.run(capsys, "provision", "--json", "--apply")
    assert json.loads(applied.out)["steps"] and applied.code == 0


def test_notes_are_shown(town: ProvisioningTown, capsys: Capture) -> None:
    hook = {"url": "http://127.0.0.1:8400/stripe-webhook", "enabled_events": ["*"]}
    town.sdk.v1.webhook_endpoints.create(hook)
    assert "\n! Endpoint we_" in town.run(capsys, "provision").out


def test_an_environment_before_everything_is_there_is_not_written(
    town: ProvisioningTown, capsys: Capture
) -> None:
    written = town.folder / "store.env"
    assert town.run(capsys, "provision", "--write-env", str(written)).code == 3
    assert not written.exists()


def test_an_environment_that_cannot_be_written_is_said(
    town: ProvisioningTown, capsys: Capture
) -> None:
    written = town.folder / "nowhere" / "store.env"
    failed = town.run(capsys, "provision", "--apply", "--write-env", str(written))
    assert failed.code == 1 and "[file-unwritable]" in failed.err


def test_what_stripe_refuses_is_said_and_ends_with_1(
    town: ProvisioningTown, capsys: Capture
) -> None:
    hook = {"url": "http://127.0.0.1:9/other", "enabled_events": ["*"]}
    for _ in range(16):
        town.sdk.v1.webhook_endpoints.create(hook)
    refused = town.run(capsys, "provision", "--apply")
    assert refused.code == 1 and "[billing-refused]" in refused.err
    # All that came before it stays done.
    assert town.run(capsys, "provision").out.endswith("1 change pending\n")


def test_a_key_that_stripe_does_not_know_is_not_repeated(
    town: ProvisioningTown, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHIMMY_OPS_SANDBOX_STRIPE_KEY", "sk_test_" + "wrong" * 4)
    refused = town.run(capsys, "provision")
    assert refused.code == 1 and "[billing-not-allowed]" in refused.err
    assert "wrong" not in refused.err


def test_what_passes_ends_with_75(town: ProvisioningTown, capsys: Capture) -> None:
    town.keygen.controls.faults.add(Fault("no-request", times=-1))
    failed = town.run(capsys, "provision")
    assert failed.code == 75 and "[licensing-unreachable]" in failed.err


def test_a_missing_key_ends_with_2(
    town: ProvisioningTown, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHIMMY_OPS_SANDBOX_KEYGEN_TOKEN")
    failed = town.run(capsys, "provision")
    assert failed.code == 2 and "SHIMMY_OPS_SANDBOX_KEYGEN_TOKEN" in failed.err
    shown = town.run(capsys, "profile", "show")
    assert shown.code == 0 and "not given" in shown.out


def test_a_live_key_never_reaches_a_sandbox(
    town: ProvisioningTown, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk_live_" + "x" * 24
    monkeypatch.setenv("SHIMMY_OPS_SANDBOX_STRIPE_KEY", key)
    for command in (["provision"], ["profile", "show"]):
        failed = town.run(capsys, *command)
        assert failed.code == 2 and "[credential-of-other-mode]" in failed.err
        assert key not in failed.out + failed.err
    assert not town.stripe.controls.seen


def test_a_profile_is_shown_with_its_secrets_masked(
    town: ProvisioningTown, capsys: Capture
) -> None:
    shown = town.run(capsys, "profile", "show")
    assert shown.code == 0
    assert "sk_test_… (31 characters) from environment SHIMMY_OPS_SANDBOX_STRIPE_KEY" in shown.out
    document = json.loads(town.run(capsys, "profile", "show", "--json").out)
    assert document["settings"]["keygen_account"] == town.keygen.account
    assert document["secrets"]["keygen-token"]["value"] == "… (26 characters)"


LIVE = Profile("live", "https://s.example", "a", "a@b.example", "https://s.example/stripe-webhook")


@pytest.mark.parametrize(("answer", "agreed"), [("live\n", True), ("y\n", False), ("", False)])
def test_live_is_changed_only_by_who_says_so(
    answer: str, agreed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    if agreed:
        provision._confirm(LIVE, yes=False)
        return
    with pytest.raises(ProvisionError) as refused:
        provision._confirm(LIVE, yes=False)
    assert refused.value.code == "provision-not-confirmed"
    provision._confirm(LIVE, yes=True)


def test_an_interrupted_run_says_so(
    town: ProvisioningTown, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(provision, "_apply", stop)
    stopped = town.run(capsys, "provision", "--apply")
    assert stopped.code == 130 and "goes on where" in stopped.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ProfileError("a", "x"), 2),
        (ContractError("a", "x"), 2),
        (BillingError("a", "x"), 1),
        (BillingError("a", "x", retryable=True), 75),
        (ProvisionError("a", "x", retryable=True), 75),
    ],
)
def test_exit_codes(error: OpsError, code: int) -> None:
    assert exit_code(error) == code


def test_a_reader_who_leaves_is_no_traceback(town: ProvisioningTown) -> None:
    command = "import sys; from shimmy_ops.cli.main import main; sys.exit(main(sys.argv[1:]))"
    where = ["--profile", "sandbox", "--config", str(town.config)]
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [sys.executable, "-c", command, "profile", "show", *where],
        stdout=writer, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_a_profile_must_be_named(capsys: Capture, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["provision"])
    assert ended.value.code == 2 and "--profile" in capsys.readouterr().err
