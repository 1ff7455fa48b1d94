"""What ``make soak`` judges by: a leak is seen, noise is none."""

from __future__ import annotations

import importlib.util
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
