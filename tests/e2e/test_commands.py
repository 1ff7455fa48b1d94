"""The commands that the README shows, as a newcomer runs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).resolve().parents[2]


def _environment(home: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SHIMMY_")}
    return {**kept, "SHIMMY_MODEL_DIR": str(home / "models"), "SHIMMY_STATE_DIR": str(home / "s")}


def test_the_demo_turns_a_real_screenshot_into_json(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", str(ROOT / "scripts/demo.sh")],
        capture_output=True,
        text=True,
        env=_environment(tmp_path),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout
    result = json.loads(text[text.index("\n{\n") : text.rindex("\n}\n") + 2])
    schema = json.loads((ROOT / "contracts/result-full.schema.json").read_text())
    jsonschema.validate(result, schema)
    assert result["visual"]["background"] == "#f5f7fa"
    assert result["meta"]["model"]["synthetic"] is True
    assert "shimmy models pull 4.6" in text
    # Sold, activated, used: the demo's licence has one page on its account afterwards.
    assert result["meta"]["licence"] == "developer"
    assert re.search(r"^pages used +1$", text[text.index("$ shimmy license usage") :], re.MULTILINE)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_thousand_analyses_leave_memory_flat() -> None:
    done = subprocess.run(
        # One thread: beside other tests, two would spend their time waiting for a core.
        [sys.executable, str(ROOT / "benchmarks/soak.py"), "--analyses", "1000", "--threads", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["growth"] <= 0.05
    assert report["open_files"] < 30


def test_the_licence_gate_costs_under_a_millisecond() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/gate.py"), "--pages", "500"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_skipping_forced_tokens_saves_passes() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/forced_tokens.py"), "--seeds", "1", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = json.loads(done.stdout)
    assert [row["mode"] for row in rows] == ["full", "ocr", "layout", "brief"]
    assert all(row["ratio"] < 0.95 for row in rows)


def test_the_readme_shows_the_two_commands_first_and_options_that_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    commands = re.findall(r"^\$? ?(make \w+|shimmy [^\n]+)$", readme, flags=re.MULTILINE)
    assert commands[:2] == ["make demo", "make test"]
    with_options = (
        ["vision"],
        ["license", "activate"],
        ["models", "pull"],
        ["models", "verify"],
        ["doctor"],
        ["schema"],
    )
    sandbox = (["buy"], ["mail", "read"])
    programs = [("shimmy", words) for words in with_options]
    programs += [("shimmy-sandbox", words) for words in sandbox]
    shown = set(re.findall(r"--[a-z][a-z-]+", readme))
    helps = [
        subprocess.run(
            [str(Path(sys.executable).with_name(program)), *words, "--help"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for program, words in programs
    ]
    assert shown <= set(re.findall(r"--[a-z][a-z-]+", "".join(helps)))
