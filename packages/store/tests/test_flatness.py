"""What ``make soak`` judges by: a leak is seen, noise is none."""

from __future__ import annotations

import importlib.util
import os
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).resolve().parents[3] / "benchmarks/flatness.py"


@pytest.fixture(scope="module")
def flatness() -> ModuleType:
    spec = importlib.util.spec_from_file_location("flatness", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["flatness"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("a_minute", "files", "threads", "grown"),
    [
        (0.0, 0, 0, []),
        (0.1e6, 0, 0, []),
        (0.5e6, 0, 0, ["memory"]),
        (0.0, 1, 0, ["files"]),
        (0.0, 0, 1, ["threads"]),
        (2e6, 2, 1, ["memory", "files", "threads"]),
    ],
)
def test_what_grows_is_named(
    flatness: ModuleType, a_minute: float, files: int, threads: int, grown: list[str]
) -> None:
    chance = random.Random(1)
    samples = [
        flatness.Sample(
            60.0 * number,
            int(100e6 + a_minute * number + chance.uniform(-2e6, 2e6)),
            20 + files * number + chance.randrange(4),
            10 + threads * number,
        )
        for number in range(30)
    ]
    assert flatness.not_flat(samples) == grown


def test_one_sample_is_flat(flatness: ModuleType) -> None:
    assert flatness.not_flat([flatness.Sample(0.0, 1, 1, 1)]) == []


def test_the_first_fifth_is_not_judged_and_what_grew_is_described(flatness: ModuleType) -> None:
    # It doubles in the warm-up and stays; a file a sample is left open all the time.
    samples = [
        flatness.Sample(60.0 * n, 200_000_000 if n > 5 else 100_000_000, 20 + n, 10, 90_000_000)
        for n in range(30)
    ]
    said = flatness.describe(flatness.warmed_up(samples))
    assert said["broken"] == ["files grew"]
    assert (said["rss_mb"], said["files"]) == ([200.0, 200.0], [26, 49])
    assert said["growth"] == 0
    assert flatness.describe([])["broken"] == ["no samples"]


def test_a_process_that_runs_is_sampled(flatness: ModuleType) -> None:
    seen = flatness.sample(os.getpid(), 1.0)
    assert seen.rss > 1_000_000
    assert seen.files > 0
    assert seen.threads >= 1
