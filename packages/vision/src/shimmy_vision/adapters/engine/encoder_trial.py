"""How fast this machine multiplies in each precision: measured once, on a real layer's shapes.

In processor time, spread over the threads: on a machine that is busy with other things it is the
same within a few hundredths, while the time on the clock is ten times as long and whatever it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shimmy_vision.adapters.engine.openvino_library import OpenVino
from shimmy_vision.adapters.files.json_record import read_record, write_record
from shimmy_vision.domain.model.encoder_choice import Precision, native_precisions

_RECORD = "machine.json"
_ROWS, _WIDTH, _FEED = 1024, 1152, 4304
_RUNS = 4
_MEASURED = "processor time"  # What was measured otherwise is measured again.
_MOST_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class MeasuredMachine:
    """``seconds`` a feed-forward of one layer took in each precision, on ``threads`` threads."""

    seconds: Mapping[Precision, float]
    threads: int


def read_measured(openvino: OpenVino, folder: Path | None, threads: int) -> MeasuredMachine | None:
    """What was measured before on this very machine; None if nothing was."""
    if folder is None:
        return None
    kept = read_record(folder / _RECORD).get(_key(openvino, threads))
    if not isinstance(kept, dict):
        return None
    seconds: dict[Precision, float] = {}
    for precision in native_precisions(openvino.capabilities):
        value = kept.get(precision)
        if isinstance(value, float) and value > 0:
            seconds[precision] = value
    return MeasuredMachine(seconds, threads)


def measure_machine(openvino: OpenVino, folder: Path | None, threads: int) -> MeasuredMachine:
    """Measure within two seconds of processor time and remember.

    What there was no time for is left out.
    """
    ends = time.process_time() + _MOST_SECONDS
    seconds: dict[Precision, float] = {}
    # The quickest first: they are those that matter, and the slowest is the fallback anyway.
    for precision in reversed(native_precisions(openvino.capabilities)):
        if time.process_time() < ends:
            seconds[precision] = _measure(openvino, precision, threads)
    if folder is not None:
        with contextlib.suppress(OSError):
            record = {**read_record(folder / _RECORD), _key(openvino, threads): seconds}
            write_record(folder / _RECORD, record)
    return MeasuredMachine(seconds, threads)


def _key(openvino: OpenVino, threads: int) -> str:
    named = [openvino.version, openvino.cpu, sorted(openvino.capabilities), threads, _MEASURED]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:32]


def _measure(openvino: OpenVino, precision: Precision, threads: int) -> float:
    """Seconds of a layer's feed-forward, the mean: some systems count processor time coarsely."""
    model = openvino.core.compile_model(
        _feed_forward(openvino, precision), "CPU", openvino.settings(precision, threads)
    )
    request = model.create_infer_request()
    rows = np.random.default_rng(0).standard_normal((_ROWS, _WIDTH), dtype=np.float32)
    request.infer([rows])  # Packs the matrices.
    started = time.process_time()
    for _ in range(_RUNS):
        request.infer([rows])
    return (time.process_time() - started) / _RUNS / threads


def _feed_forward(openvino: OpenVino, precision: Precision) -> Any:
    op = openvino.operations
    rows = op.parameter([-1, _WIDTH], np.float32, name="rows")
    rng = np.random.default_rng(1)

    def product(inputs: Any, size: int, columns: int) -> Any:
        whole = rng.integers(-127, 128, (size, columns), dtype=np.int8)
        if precision == "int8":
            scales = op.constant(np.full((size, 1), 1e-3, dtype=np.float32))
            return op.matmul(
                inputs, op.multiply(op.convert(op.constant(whole), "f32"), scales), False, True
            )
        return op.matmul(inputs, op.constant(whole.astype(np.float32) * 1e-3), False, True)

    inner = op.gelu(product(rows, _FEED, _WIDTH), "tanh")
    return openvino.package.Model([op.result(product(inner, _WIDTH, _FEED))], [rows], "layer")
