"""``shimmy-sandbox licences`` as a process of its own."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

PLANS = Path(__file__).parents[4] / "contracts" / "plans.json"
PROGRAM = [
    sys.executable,
    "-c",
    "from shimmy_sandbox.cli.main import main; raise SystemExit(main())",
]
KEY = re.compile(r"([0-9A-F]{6}-){5}V3\n")


def command(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, "licences", *args], capture_output=True, text=True, timeout=60, check=False
    )


@dataclass
class Serving:
    """A server in another process, and commands to it."""

    url: str
    process: subprocess.Popen[str]

    def __call__(self, action: str, *args: str) -> subprocess.CompletedProcess[str]:
        return command(action, *args, "--url", self.url)

    def sold(self, plan: str = "developer") -> str:
        return self("sell", plan).stdout.strip()


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    state = tmp_path_factory.mktemp("state") / "licences.sqlite"
    order = ["licences", "serve", "--state", str(state), "--plans", str(PLANS), "--port", "0"]
    process = subprocess.Popen(
        [*PROGRAM, *order], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        yield Serving(process.stdout.readline().strip(), process)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "NOT FOR PRODUCTION" in said
    assert "Traceback" not in said
    assert [one.name for one in state.parent.iterdir()] == [state.name]


def test_sell_prints_the_key_alone(serving: Serving) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", serving.url)
    sold = serving("sell", "developer")
    assert (sold.returncode, bool(KEY.fullmatch(sold.stdout))) == (0, True)
    assert "not for production" in sold.stderr


def test_sell_prints_the_whole_licence(serving: Serving) -> None:
    sold = serving("sell", "lifetime", "--json", "--expires-in-days", "-2")
    licence = json.loads(sold.stdout)["attributes"]
    assert (licence["status"], licence["metadata"]["plan"]) == ("EXPIRED", "lifetime")


def test_a_licences_life(serving: Serving) -> None:
    key = serving.sold()
    for action, code, said in (
        ("suspend", 0, ""),
        ("suspend", 1, "is already suspended"),
        ("reinstate", 0, ""),
        ("renew", 0, ""),
        ("revoke", 0, ""),
        ("suspend", 1, "NOT_FOUND"),
    ):
        done = serving(action, key)
        assert done.returncode == code, (action, done.stderr)
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1 + code


def test_clock_and_faults(serving: Serving) -> None:
    def now(*order: str) -> datetime:
        return datetime.fromisoformat(serving("clock", *order).stdout.strip())

    start, hour = now("--reset"), timedelta(hours=1)
    assert timedelta(days=1) <= now("--advance", "86400") - start < timedelta(days=1) + hour
    assert timedelta(days=1) <= now() - start < timedelta(days=1) + hour
    assert timedelta(0) <= now("--reset") - start < hour
    key = serving.sold()
    order = ("fault", "status", "--path", "/suspend", "--status", "502", "--times", "1")
    assert serving(*order).returncode == 0
    broken = serving("suspend", key)
    assert (broken.returncode, "status 502" in broken.stderr) == (1, True)
    assert serving("suspend", key).returncode == 0
    unknown = serving("fault", "explode")
    assert (unknown.returncode, "kind must be one of" in unknown.stderr) == (1, True)
    far = serving("clock", "--advance", "1e300")
    assert (far.returncode, len(far.stderr.splitlines())) == (1, 2)


def test_unknown_plan(serving: Serving) -> None:
    done = serving("sell", "free")
    assert done.returncode == 1
    assert "no plan 'free' is in stock (in stock: developer, professional" in done.stderr


def test_port_in_use(serving: Serving, tmp_path: Path) -> None:
    port = serving.url.rpartition(":")[2]
    order = ("serve", "--state", str(tmp_path / "s"), "--plans", str(PLANS), "--port", port)
    done = command(*order)
    assert done.returncode == 1
    assert f"port {port} is in use: stop what listens there or choose another" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("action", [["sell", "developer"], ["suspend", "x"], ["clock"]])
def test_no_server(action: list[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        done = command(*action, "--url", url)
    assert done.returncode == 1
    assert f"no licence server answers at {url}: start one with" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_plans_and_no_state(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text('{"plans": [{"id": "x"}]}', encoding="utf-8")
    for plans, state, said in (
        (tmp_path / "missing.json", tmp_path / "s", "cannot read the plans"),
        (other, tmp_path / "s", "holds no plans: give contracts/plans.json"),
        (PLANS, other, "cannot be opened as sandbox state"),
    ):
        done = command("serve", "--state", str(state), "--plans", str(plans), "--port", "0")
        assert (done.returncode, said in done.stderr) == (1, True), done.stderr
