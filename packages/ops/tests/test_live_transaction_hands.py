"""What a live transaction does with programs, pages and files, and how its command ends."""

from __future__ import annotations

import io
import json
import os
import struct
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from operated_town import OperatedTown
from provisioning_town import NO_TLS
from transaction_town import DECLINED, open_transaction_town

from shimmy_ops.adapters.transaction.browser_payer import BrowserPayer, SystemBrowser
from shimmy_ops.adapters.transaction.file_receipts import FileReceipts
from shimmy_ops.adapters.transaction.http_storefront import HttpStorefront
from shimmy_ops.adapters.transaction.process_machine import ProcessMachine
from shimmy_ops.adapters.transaction.process_payer import ProcessPayer
from shimmy_ops.adapters.transaction.text_picture import draw_picture
from shimmy_ops.cli.main import main
from shimmy_ops.domain.credentials import OPERATOR_TOKEN
from shimmy_ops.domain.transaction.receipt import Receipt
from shimmy_ops.domain.transaction.sightings import SeenSession
from shimmy_ops.errors import DeskError, TransactionError
from shimmy_ops.settings import customer_environment

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
PAGE = "https://checkout.stripe.com/c/pay/cs_live_1"


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatedTown]:
    with (
        pytest.MonkeyPatch.context() as patch,
        open_transaction_town(tmp_path_factory.mktemp("town"), patch) as opened,
    ):
        yield opened


LIVE = ["live-transaction", "--profile", "live"]


def _session(url: str = PAGE) -> SeenSession:
    return SeenSession("cs_1", "open", False, "subscription", 1200, "usd", True, NOW, url=url)


def test_the_page_is_opened_once_and_shown() -> None:
    shown: list[str] = []
    opened: list[str] = []
    payer = BrowserPayer(shown.append, opened.append)
    payer.ask(_session())
    payer.ask(_session())
    assert (shown, opened) == ([PAGE], [PAGE])


def test_the_browser_is_not_given_our_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "told"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$@" >{told}\nenv >>{told}\n')
    browser.chmod(0o755)
    monkeypatch.setenv("SHIMMY_OPS_LIVE_STRIPE_KEY", "worth-a-lot")
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    SystemBrowser(customer_environment())(PAGE)
    said = told.read_text()
    assert PAGE in said
    assert "worth-a-lot" not in said
    # Where there is none nobody is the worse for it.
    SystemBrowser({"PATH": str(tmp_path), "BROWSER": "no-such-browser"})(PAGE)


def test_a_sandbox_pays_nowhere_but_on_this_machine() -> None:
    payer = ProcessPayer(["no-such-program"], "me@shimmy.example", "4242", {})
    with pytest.raises(TransactionError) as refused:
        payer.ask(_session())
    assert refused.value.code == "payment-elsewhere"
    with pytest.raises(TransactionError) as missing:
        ProcessPayer(["no-such-program"], "a@b.example", "4242", {}).ask(
            _session("http://127.0.0.1:1/c/pay/cs_1")
        )
    assert missing.value.code == "payer-missing"


def _machine(folder: Path, script: str, **changes: Any) -> ProcessMachine:
    program = folder / "shimmy"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    given: dict[str, Any] = {"environ": {"PATH": os.defpath}, **changes}
    return ProcessMachine([str(program)], folder / "machine", "name", **given)


KEY = "ABCDEF-012345"


def test_the_key_goes_by_standard_input_or_environment_alone(tmp_path: Path) -> None:
    script = 'echo "$@" >>"$SHIMMY_STATE_DIR/args"; read key; echo "$key" >"$SHIMMY_STATE_DIR/in"'
    script += '; echo "$SHIMMY_LICENSE_KEY" >"$SHIMMY_STATE_DIR/key"; echo {}'
    machine = _machine(tmp_path, script)
    machine.activate(KEY)
    assert (machine.folder / "in").read_text().strip() == KEY
    assert (machine.folder / "key").read_text().strip() == ""
    machine.deactivate(KEY)
    assert machine.confirm(KEY) == ""
    assert (machine.folder / "key").read_text().strip() == KEY
    assert KEY not in (machine.folder / "args").read_text()
    assert machine.folder.stat().st_mode & 0o777 == 0o700
    assert KEY not in repr(machine)
    machine.remove()
    machine.remove()
    assert not machine.folder.exists()


def test_what_the_program_says_is_known_by_its_code_and_not_repeated(tmp_path: Path) -> None:
    said = '{"error": {"code": "licence-suspended", "message": "secret words"}}'
    machine = _machine(tmp_path, f"echo '{said}'; echo more secret words >&2; exit 2")
    assert machine.confirm(KEY) == "licence-suspended"
    with pytest.raises(TransactionError) as refused:
        machine.activate(KEY)
    assert refused.value.code == "machine-refused"
    assert "licence-suspended" in refused.value.message
    assert "secret" not in refused.value.message + refused.value.hint
    assert _machine(tmp_path, "exit 3").confirm(KEY) == "exit-3"


def test_an_analysis_that_gives_no_result_fails(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").touch()
    with pytest.raises(TransactionError) as unread:
        _machine(tmp_path, "echo words", model=tmp_path).analyse()
    assert unread.value.code == "analysis-unreadable"
    with pytest.raises(TransactionError) as refused:
        _machine(tmp_path, "exit 3", model=tmp_path).analyse()
    assert refused.value.code == "machine-refused"
    with pytest.raises(TransactionError) as missing:
        ProcessMachine(["no-such-program"], tmp_path / "m", "name", {}).activate(KEY)
    assert missing.value.code == "machine-missing"


def test_a_program_that_does_not_fit_is_found_out_before_anybody_pays(tmp_path: Path) -> None:
    def code(script: str, *, analysis: bool = True, **changes: Any) -> str:
        try:
            _machine(tmp_path, script, **changes).check(analysis=analysis)
        except TransactionError as error:
            return error.code
        assert not (tmp_path / "machine").exists()
        return ""

    sandbox, release = "echo 'shimmy 1 (SANDBOX)'", "echo 'shimmy 1'"
    assert code(sandbox, analysis=False) == "machine-of-other-build"
    assert code(release, analysis=False, sandbox=True) == "machine-of-other-build"
    assert code("exit 1", analysis=False) == "machine-of-other-build"
    assert code(release) == "machine-without-model"
    assert code(release, model=tmp_path) == "machine-without-model"
    (tmp_path / "a.gguf").touch()
    assert code(release, model=tmp_path) == ""
    assert code(release, analysis=False) == ""
    listed = release + """; [ "$1" = models ] && echo '[{"state": "installed"}]'; true"""
    assert code(listed) == ""


def test_the_picture_is_a_picture() -> None:
    picture = draw_picture()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", picture[16:24]) == (320, 200)
    start = picture.index(b"IDAT") + 4
    (length,) = struct.unpack(">I", picture[start - 8 : start - 4])
    rows = zlib.decompress(picture[start : start + length])
    assert len(rows) == 200 * (1 + 3 * 320)
    ink = rows.count(b"\x22\x22\x2a")
    assert 1000 < ink < 10000


def test_a_customers_programs_get_nothing_of_ours() -> None:
    given = {
        "PATH": "/bin",
        "SHIMMY_OPS_LIVE_STRIPE_KEY": "x",
        "SHIMMY_LICENSE_KEY": "x",
        "SHIMMY_STATE_DIR": "x",
        "SHIMMY_OFFLINE": "1",
        "SHIMMY_MODEL_DIR": "models",
    }
    assert customer_environment(given) == {"PATH": "/bin", "SHIMMY_MODEL_DIR": "models"}


def test_receipts_of_another_profile_are_not_ours_and_damaged_ones_are_refused(
    tmp_path: Path,
) -> None:
    ours = FileReceipts(tmp_path / "kept", "test")
    assert ours.listed() == []
    made = Receipt("ab12cd", "live", "live", "0", "0", "developer", 1200, "usd", NOW)
    FileReceipts(tmp_path / "kept", "live").save(made)
    assert ours.listed() == []
    (tmp_path / "kept" / "x.json").write_text("{")
    with pytest.raises(TransactionError) as damaged:
        ours.listed()
    assert damaged.value.code == "receipt-unreadable"
    (tmp_path / "file").touch()
    with pytest.raises(TransactionError) as unusable, FileReceipts(tmp_path / "file", "x").alone():
        raise AssertionError
    assert unusable.value.code == "receipts-folder-unusable"


def test_a_store_that_leads_nowhere_is_said() -> None:
    def answer(status: int) -> HttpStorefront:
        transport = httpx.MockTransport(lambda _: httpx.Response(status))
        return HttpStorefront(httpx.Client(base_url="http://127.0.0.1", transport=transport))

    for status, retryable in ((200, False), (404, False), (429, True), (503, True)):
        with pytest.raises(DeskError) as refused:
            answer(status).begin_checkout("developer")
        assert (refused.value.code, refused.value.retryable) == ("checkout-not-begun", retryable)
    with (
        httpx.Client(base_url="http://127.0.0.1:1", trust_env=False, verify=NO_TLS) as client,
        pytest.raises(DeskError) as unheard,
    ):
        HttpStorefront(client).status("http://127.0.0.1:1/x?secret=1")
    assert "secret" not in unheard.value.message


def test_a_declined_card_is_abandoned_by_command(
    town: OperatedTown, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = town.town.run(capsys, "live-transaction", "verify")
    assert (empty.code, "no live transaction has ended yet" in empty.out) == (1, True)
    nothing = town.town.run(capsys, "live-transaction", "status", "--json")
    assert (nothing.code, nothing.out) == (0, "null\n")
    declined = town.town.run(capsys, "live-transaction", "--no-analysis", "--card", DECLINED)
    assert (declined.code, "payment-refused" in declined.err) == (1, True)
    assert "abandon" in declined.err
    second = town.town.run(capsys, "live-transaction", "run", "--no-analysis")
    assert (second.code, "transaction-open" in second.err) == (1, True)
    shown = town.town.run(capsys, "live-transaction", "status")
    assert "failed  paid" in shown.out
    done = town.town.run(capsys, "live-transaction", "abandon", "--json")
    assert (done.code, json.loads(done.out)["outcome"]) == (0, "abandoned")
    verified = town.town.run(capsys, "live-transaction", "verify")
    assert (verified.code, "it ended as abandoned" in verified.out) == (1, True)


def test_ctrl_c_while_waiting_for_the_payment_keeps_the_receipt(
    town: OperatedTown, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(_self: Any, _session: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ProcessPayer, "ask", stopped)
        ran = town.town.run(capsys, "live-transaction", "--no-analysis")
    assert ran.code == 130
    kept = json.loads(town.town.run(capsys, "live-transaction", "status", "--json").out)
    assert [one["outcome"] for one in kept["steps"]] == ["held", "waiting"]
    assert town.town.run(capsys, "live-transaction", "abandon").code == 0


def test_in_live_mode_the_amount_is_said_and_the_word_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "shimmy-ops.toml"
    config.write_text(
        '[live]\nstore_url = "https://store.shimmy.example"\nkeygen_account = "shimmy"\n'
        'mail_from = "A <a@shimmy.example>"\nsecrets_folder = "secrets"\nstate_folder = "state"\n'
    )
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o700)
    (folder / OPERATOR_TOKEN).touch(mode=0o600)
    (folder / OPERATOR_TOKEN).write_text("of tests")
    monkeypatch.setenv("SHIMMY_OPS_LIVE_STRIPE_KEY", "sk_" + "live_" + "x" * 24)
    monkeypatch.setenv("SHIMMY_OPS_LIVE_KEYGEN_TOKEN", "admin")
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    code = main([*LIVE, "--config", str(config)])
    said = capsys.readouterr().err
    assert (code, "transaction-not-confirmed" in said) == (1, True)
    assert "12.00 USD" in said
    assert "Stripe keeps its fee" in said
    assert not list((tmp_path / "state").rglob("*.json"))
    typed = [*LIVE, "--config", str(config), "--card", "4000000000000002"]
    assert main(typed) == 1
    said = capsys.readouterr().err
    assert "card-in-arguments" in said
    assert "4000000000000002" not in said


@pytest.mark.parametrize("wrong", ["0", "-1", "nan", "inf", "soon"])
def test_a_duration_that_is_none_is_refused(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["live-transaction", "--profile", "sandbox", "--wait-minutes", wrong])
    assert "--wait-minutes" in capsys.readouterr().err
