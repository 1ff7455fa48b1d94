"""The benchmark beside peers runs, compares fairly, and its plots are those of its results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]


def test_the_benchmark_beside_peers_runs_and_everybody_reads_the_same_prompt(
    tmp_path: Path,
) -> None:
    out = tmp_path / "peers.json"
    script = [sys.executable, str(ROOT / "benchmarks/peers.py"), "--quick", "--out", str(out)]
    wanted = ["--case", "one-image", "--peers", "llama-cpp-python"]
    done = subprocess.run([*script, *wanted], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    cases = json.loads(out.read_text(encoding="utf-8"))["shapes"]["4.6"]["cases"]
    assert set(cases) == {
        "new-screenshot",
        "same-request-again",
        "another-mode",
    }
    case = cases["new-screenshot"]
    assert set(case["contestants"]) == {"shimmy", "llama-cpp-python"}
    assert {one["image_tokens"] for one in case["contestants"].values()} == {64}
    assert {one["generated"] for one in case["contestants"].values()} == {16}
    # Our template joins question and image by one line more.
    assert abs(case["prompt_tokens_over_best_peer"]) <= 2
    assert case["contestants"]["shimmy"]["note"]["cache"]["result"] is False
    again = cases["same-request-again"]["contestants"]["shimmy"]
    assert again["note"]["cache"]["result"] is True


def test_committed_plots_are_drawn_from_the_committed_results(tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "benchmarks/plot_results.py"), "--out", str(tmp_path)]
    subprocess.run(script, check=True, capture_output=True)
    drawn = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.svg")}
    kept = (ROOT / "docs/plots").glob("*.svg")
    assert drawn == {path.name: path.read_text(encoding="utf-8") for path in kept}
    assert {"encoder.svg", "peers.svg"} <= set(drawn)
    for text in drawn.values():
        ElementTree.fromstring(text)  # noqa: S314 - our own drawing
