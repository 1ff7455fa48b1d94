"""``shimmy license`` as a customer types it: real processes against the licence server."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from licence_world import Shop

SHIMMY = str(Path(sys.executable).with_name("shimmy"))
SAMPLE = Path(__file__).resolve().parents[4] / "docs/samples/sign-in.png"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def shimmy(session_shop: Shop, tmp_path: Path) -> Run:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SHIMMY_")}
    variables = {
        "SHIMMY_LICENSE_URL": session_shop.server.url,
        "SHIMMY_STATE_DIR": str(tmp_path / "state"),
        "SHIMMY_MODEL_DIR": str(tmp_path / "models"),
        "SHIMMY_MACHINE_ID": f"machine of {tmp_path.name}",
        "PYTHONWARNINGS": "error",
    }

    def run(
        *arguments: str, stdin: str | None = None, **more: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SHIMMY, *arguments],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            env={**kept, **variables, **more},
            timeout=60,
            check=False,
        )

    return run


def test_the_whole_life_of_a_licence(shimmy: Run, session_shop: Shop, tmp_path: Path) -> None:
    sold = session_shop.sell("developer")
    done = shimmy("license", "activate", sold.key, "--name", "office-pc")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^plan +developer$", done.stdout, re.MULTILINE)
    assert re.search(r"^pages allowed +2,500$", done.stdout, re.MULTILINE)
    assert sold.key not in done.stdout + done.stderr
    assert stat.S_IMODE((tmp_path / "state/licence.sqlite").stat().st_mode) == 0o600

    status = shimmy("license", "status", "--json")
    report = json.loads(status.stdout)
    assert (status.returncode, report["access"], report["plan"]) == (0, True, "developer")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", report["expires"])

    machines = json.loads(shimmy("license", "machines", "--json").stdout)
    assert [(one["name"], one["this_machine"]) for one in machines] == [("office-pc", True)]
    usage = json.loads(shimmy("license", "usage", "--json").stdout)
    assert (usage["pages_used"], usage["pages_allowed"], usage["fresh"]) == (0, 2500, True)
    assert shimmy("license", "refresh").returncode == 0

    session_shop.act(sold, "suspend")
    refused = shimmy("license", "refresh")
    assert (refused.returncode, "suspended" in refused.stderr) == (2, True)
    assert json.loads(shimmy("license", "status", "--json").stdout)["refused"]["code"] == (
        "licence-suspended"
    )
    session_shop.act(sold, "reinstate")
    assert shimmy("license", "refresh").returncode == 0

    gone = shimmy("license", "deactivate")
    assert (gone.returncode, "office-pc" in gone.stdout) == (0, True)
    assert shimmy("license", "status").returncode == 2


def test_every_output_says_sandbox(shimmy: Run, session_shop: Shop) -> None:
    sold = session_shop.sell("startup")
    for words in (
        ("license", "activate", sold.key),
        ("license", "status"),
        ("license", "machines"),
        ("license", "usage"),
        ("license", "refresh"),
        ("--version",),
        ("doctor",),
        ("license", "deactivate"),
        ("vision", str(SAMPLE)),
    ):
        done = shimmy(*words)
        assert "SANDBOX" in done.stdout + done.stderr, words


def test_the_key_may_come_from_standard_input_flag_or_environment(
    shimmy: Run, session_shop: Shop
) -> None:
    key = session_shop.sell("startup").key
    assert shimmy("license", "activate", "-", stdin=f"{key}\n").returncode == 0
    assert shimmy("license", "deactivate").returncode == 0
    assert shimmy("license", "status", "--license", key).returncode == 2
    assert shimmy("license", "refresh", "--license", key).returncode == 2
    assert shimmy("license", "activate", SHIMMY_LICENSE_KEY=key).returncode == 0
    assert shimmy("license", "status").returncode == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("license", "status"), 2, "licence-missing"),
        (("license", "activate"), 2, "licence-missing"),
        (("license", "activate", " "), 64, "key-empty"),
        (("license", "activate", "käy"), 64, "key-malformed"),
        (("license", "activate", "NO-SUCH"), 2, "licence-unknown"),
        (("license", "activate", "X", "--machine-id", ""), 64, "machine-id-invalid"),
        (("license",), 64, "usage"),
        (("license", "steal"), 64, "usage"),
        (("vision", str(SAMPLE)), 2, "licence-missing"),
        (("vision", str(SAMPLE), "--license", "NO-SUCH"), 2, "licence-unknown"),
    ],
)
def test_refusals_have_a_code_an_exit_code_and_advice(
    shimmy: Run, words: tuple[str, ...], code: int, said: str
) -> None:
    done = shimmy(*words)
    assert (done.returncode, f"[{said}]" in done.stderr) == (code, True), done.stderr
    assert "→" in done.stderr
    assert "Traceback" not in done.stderr


def test_deactivating_what_is_not_there_lists_what_is(shimmy: Run, session_shop: Shop) -> None:
    shimmy("license", "activate", session_shop.sell("startup").key, "--name", "office-pc")
    done = shimmy("license", "deactivate", "laptop")
    assert (done.returncode, "[machine-unknown]" in done.stderr) == (2, True)
    assert "office-pc" in done.stderr


def test_the_server_of_a_sandbox_build_is_on_this_machine(shimmy: Run) -> None:
    done = shimmy("license", "status", SHIMMY_LICENSE_URL="https://licences.example")
    assert (done.returncode, "[licence-url-refused]" in done.stderr) == (64, True)


def test_without_the_server_usage_tells_what_is_known(shimmy: Run, session_shop: Shop) -> None:
    shimmy("license", "activate", session_shop.sell("developer").key)
    done = shimmy("license", "usage", "--json", SHIMMY_LICENSE_URL="http://127.0.0.1:9")
    assert done.returncode == 0
    assert json.loads(done.stdout)["fresh"] is False
    assert "cannot be connected to" in done.stderr


def test_no_model_is_looked_for_without_a_licence(shimmy: Run, tmp_path: Path) -> None:
    done = shimmy("vision", str(SAMPLE), "--model", str(tmp_path / "nowhere") + "/")
    assert "[licence-missing]" in done.stderr
    assert not (tmp_path / "models").exists()


def test_several_images_stop_at_the_first_refusal(shimmy: Run, tmp_path: Path) -> None:
    other = shutil.copy(SAMPLE, tmp_path / "other.png")
    done = shimmy("vision", str(SAMPLE), str(other))
    rows: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 2
    assert [row["error"]["code"] for row in rows] == ["licence-missing"]


def test_status_and_usage_tell_what_an_analysis_would_meet(shimmy: Run, session_shop: Shop) -> None:
    sold = session_shop.sell("developer")
    session_shop.change(sold, maxUses=0)
    assert shimmy("license", "activate", sold.key).returncode == 2
    for action in ("status", "usage"):
        done = shimmy("license", action, "--json")
        assert done.returncode == 2
        assert json.loads(done.stdout)["refused"]["code"] == "page-cap-reached"
    session_shop.change(sold, maxUses=100)
    session_shop.act(sold, "suspend")
    done = shimmy("license", "usage", "--json")
    assert (done.returncode, json.loads(done.stdout)["refused"]["code"]) == (2, "licence-suspended")


def test_a_refusal_is_json_too_where_json_is_asked_for(shimmy: Run) -> None:
    for words in (("status",), ("machines",), ("activate", "NO-SUCH"), ("deactivate",)):
        done = shimmy("license", *words, "--json")
        assert done.returncode == 2
        assert json.loads(done.stdout)["error"]["code"].startswith("licence-")


def test_a_damaged_record_heals_where_the_key_comes_with_the_command(
    shimmy: Run, session_shop: Shop, tmp_path: Path
) -> None:
    key = session_shop.sell("developer").key
    assert shimmy("license", "activate", key).returncode == 0
    for action in ("refresh", "usage"):
        (tmp_path / "state/licence.sqlite").write_bytes(b"no database" * 500)
        assert "[licence-state-damaged]" in shimmy("license", action).stderr
        assert shimmy("license", action, SHIMMY_LICENSE_KEY=key).returncode == 0


def test_keys_that_are_none_are_told_apart_wherever_they_come_from(
    shimmy: Run, session_shop: Shop
) -> None:
    assert "[key-empty]" in shimmy("vision", str(SAMPLE), "--license", "").stderr
    assert "[key-empty]" in shimmy("license", "activate", "").stderr
    for wrong in ("\udcff\udcfe", "two words"):
        done = shimmy("license", "status", SHIMMY_LICENSE_KEY=wrong)
        assert (done.returncode, "[key-malformed]" in done.stderr) == (64, True), done.stderr
    key = session_shop.sell("startup").key
    assert shimmy("license", "refresh", "--license", f" {key}\n").returncode == 0


def test_a_terminal_of_few_characters_gets_no_traceback(shimmy: Run, session_shop: Shop) -> None:
    key = session_shop.sell("startup").key
    done = shimmy("license", "activate", key, "--name", "büro 💻", PYTHONIOENCODING="ascii")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    done = shimmy("license", "machines", PYTHONIOENCODING="ascii")
    assert (done.returncode, "b?ro ?" in done.stdout) == (0, True)


def test_activating_beside_a_key_of_the_environment_says_which_is_used(
    shimmy: Run, session_shop: Shop
) -> None:
    new, old = (session_shop.sell(plan).key for plan in ("professional", "developer"))
    done = shimmy("license", "activate", new, SHIMMY_LICENSE_KEY=old)
    assert (done.returncode, "holds another key" in done.stderr) == (0, True)


def test_a_folder_that_cannot_be_written_takes_no_place(
    shimmy: Run, session_shop: Shop, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    sold = session_shop.sell("developer")
    done = shimmy("license", "activate", sold.key, SHIMMY_STATE_DIR=str(tmp_path / "file/x"))
    assert (done.returncode, "[licence-not-kept]" in done.stderr) == (2, True)
    assert shimmy("license", "activate", sold.key).returncode == 0
