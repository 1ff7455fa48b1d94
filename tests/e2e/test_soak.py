"""What ``make soak`` says and does, with soaks of a moment in place of the half hours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
STEADY: dict[str, Any] = {
    "rss_mb": [100.0, 101.0],
    "pss_mb": [80.0, 81.0],
    "growth": 0.01,
    "files": [16, 17],
    "threads": [11, 11],
    "broken": [],
}

# Stands where ``store_soak.py`` and ``vision_soak.py`` do: says how far it is, goes on until it is
# told to end, or not at all where its name says so; then reports.
STAND_IN = """
import json, signal, sys, time
sys.path.insert(0, {benchmarks!r})
from soak_report import end_with_ctrl_c, judge_answers, keep, tell
from pathlib import Path
end_with_ctrl_c()
folder = Path(__file__).parent
tell(1, 60, "under way")
print("a warning", file=sys.stderr)
try:
    (folder / Path(__file__).stem).touch()
    while (folder / "endless").exists():
        time.sleep(0.02)
except KeyboardInterrupt:
    pass
report = json.loads((folder / "report.json").read_text())
report["broken"] += judge_answers(report["requests"], report["errors"], report["p99_ms"])
keep(report, Path(sys.argv[sys.argv.index("--out") + 1]))
sys.exit(bool(report["broken"]))
"""


class Place:
    """A folder with ``soak.py`` beside two stand-ins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        text = (BENCHMARKS / "soak.py").read_text(encoding="utf-8")
        (folder / "soak.py").write_text(text, encoding="utf-8")
        for name in ("store", "vision"):
            (folder / f"{name}_soak.py").write_text(STAND_IN.format(benchmarks=str(BENCHMARKS)))

    def report(self, **changed: Any) -> None:
        said = {
            "seconds": 60.0,
            "requests": 1000,
            "errors": 0,
            "error_rate": 0.0,
            "p50_ms": 4.0,
            "p99_ms": 40.0,
            "processes": {"one": STEADY},
            "broken": [],
        }
        (self.folder / "report.json").write_text(json.dumps({**said, **changed}))

    def begin(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(self.folder / "soak.py"), "--out", str(self.folder / "out")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(BENCHMARKS)},
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"broken": ["engine: memory grew"]}, "vision: engine: memory grew"),
        ({"errors": 1, "p99_ms": 501.0}, "store: p99, errors"),
    ],
)
def test_who_grew_or_missed_a_promise_fails_both_and_is_named(
    place: Place, changed: dict[str, Any], told: str
) -> None:
    place.report(**changed)
    running = place.begin()
    said, errors = running.communicate(timeout=60)
    assert running.returncode == 1, errors
    assert told in said
    assert "100.0 → 101.0" in said
    assert "vision: a warning" in errors
    assert json.loads((place.folder / "out/soak-vision.json").read_text())["requests"] == 1000


def test_ctrl_c_ends_both_and_shows_what_was_seen(place: Place) -> None:
    place.report()
    (place.folder / "endless").touch()
    running = place.begin()
    began = [place.folder / f"{name}_soak" for name in ("store", "vision")]
    end = time.monotonic() + 60
    while not all(one.exists() for one in began):
        assert time.monotonic() < end
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    said, errors = running.communicate(timeout=60)
    assert running.returncode == 130, errors
    for name in ("store", "vision"):
        assert f"{name}: flat, and its promises hold" in said
    assert (place.folder / "out/soak-store.json").exists()
