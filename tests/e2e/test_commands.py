"""The commands that the README shows, as a newcomer runs them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import jsonschema
import pytest

from shimmy_sandbox.shopper.browser import find_chromium
from shimmy_sandbox.shopper.refusal import ShopperError

ROOT = Path(__file__).resolve().parents[2]


def _environment(home: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SHIMMY_")}
    return {**kept, "SHIMMY_MODEL_DIR": str(home / "models"), "SHIMMY_STATE_DIR": str(home / "s")}


def _has_chromium() -> bool:
    try:
        find_chromium()
    except ShopperError:
        return False
    return True


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
    # It opens with a purchase in a browser, if there is one, each step with its time.
    steps = re.findall(r"^ *[0-9.]+ s  (.+)$", text, re.MULTILINE)
    assert steps[-1] == (
        "the page shows the licence's key and what to type next"
        if _has_chromium()
        else "the store shows the licence"
    )
    assert text.index(steps[-1]) < text.index("$ shimmy ")
    # Sold, activated, used: the demo's licence has one page on its account afterwards.
    assert result["meta"]["licence"] == "developer"
    assert re.search(r"^pages used +1$", text[text.index("$ shimmy license usage") :], re.MULTILINE)


def test_the_live_demo_prints_where_everything_is_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    env = {**_environment(tmp_path), "SHIMMY_DEMO_PORTS": "auto"}
    running = subprocess.Popen(
        ["bash", str(ROOT / "scripts/demo_live.sh")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        # Whoever starts the tests in the background has Ctrl-C ignored in all they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert running.stdout
    told = ""
    for line in running.stdout:
        told += line
        if line == "Ctrl-C stops all of it.\n":
            break
    named = re.findall(r"^  (\w[\w ]*?)  +(http\S+)", told, re.MULTILINE)
    places = dict(named)
    assert list(places) == [
        "pricing page", "the store", "your licence", "mailbox", "Stripe", "licence server",
    ]  # fmt: skip
    pricing = httpx.get(places["pricing page"], trust_env=False)
    assert f"{places['the store'].removesuffix('/pricing')}/buy?plan=developer" in pricing.text
    assert httpx.get(places["mailbox"], trust_env=False).json() == []
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (0, "")
    for url in places.values():
        with pytest.raises(httpx.TransportError):
            httpx.get(url, trust_env=False)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_hundred_analyses_leave_memory_flat() -> None:
    """``make soak`` goes on for half an hour, and allows five per cent."""
    done = subprocess.run(
        # One thread: beside other tests, two would spend their time waiting for a core.
        [
            sys.executable,
            str(ROOT / "benchmarks/soak_in_process.py"),
            "--analyses",
            "200",
            "--threads",
            "1",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["growth"] <= 0.015
    assert report["open_files"] < 30


def test_the_licence_gate_costs_next_to_nothing() -> None:
    """Under a millisecond, says ``make bench``; here it may share its core with other tests."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/gate.py"), "--pages", "500"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    rows = json.loads(done.stdout)
    assert [row["plan"] for row in rows] == ["startup", "enterprise"]
    assert all(row["median_us"] < 5000 for row in rows), rows


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
    operators = ("provision", "deploy", "live-transaction", "monitor", "rollback")
    programs += [("shimmy-ops", [word]) for word in operators]
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
