"""What a projector's first opening costs, with int8 on trial and without: time, memory, verdict.

    python benchmarks/first_opening.py                       the 4.6-like pair, made where missing
    python benchmarks/first_opening.py --pair DIR --family 4.6    any pair, genuine ones too

Both begin with an empty folder, in a trial process as customers' do. Half a minute on two quiet
cores. Nothing leaves this machine; the result goes to benchmarks/results/first-opening.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from make_model import default_folder, make_pair, pair_files
from shimmy_vision.adapters.engine.child_probe import ChildProbe, command_of_this_program
from shimmy_vision.adapters.engine.llama_model import default_threads
from shimmy_vision.domain.model.encoder_choice import Precision
from shimmy_vision.domain.model.model_family import ModelFamily
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine_probe import EncoderOrder, EngineFiles, EngineOptions
from shimmy_vision.settings import read_settings

RESULT = Path(__file__).parent / "results/first-opening.json"
WAYS: tuple[Precision | None, ...] = (None, "bf16")


def main() -> None:
    """Measure, print, write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pair", type=Path, help="a folder with a main file and its projector")
    parser.add_argument("--family", choices=get_args(ModelFamily), default="4.6")
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    pair = args.pair or make_pair(args.family, default_folder())
    told = {way or "auto": _opened(_files(pair, args.family), args.threads, way) for way in WAYS}
    load = [round(one, 1) for one in os.getloadavg()]
    result = {"pair": pair.name, "threads": args.threads, "load_average": load, "ways": told}
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


def _files(pair: Path, family: ModelFamily) -> EngineFiles:
    main, projector = pair_files(pair)
    with projector.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return EngineFiles(main, projector, family, True, "", digest)


def _opened(files: EngineFiles, threads: int, precision: Precision | None) -> dict[str, Any]:
    """The children of one first opening, which takes the precision that is asked for."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SHIMMY_CACHE_DIR"] = folder
        encoders, record = Path(folder, "encoders"), Path(folder, "probed.json")
        probe = ChildProbe(_measured_command(folder), read_settings().library_directory, record)
        order = EncoderOrder("auto", precision, encoders)
        options = EngineOptions(threads, 0, 1024, 1, order)
        began = time.perf_counter()
        took = probe.probe(files, options, Cancellation()).encoder.precision
        wall = time.perf_counter() - began
        lines = Path(folder, "children").read_text(encoding="utf-8").splitlines()
        verdicts = encoders / "int8.json"
        found = json.loads(verdicts.read_text(encoding="utf-8")) if verdicts.exists() else {}
        return {
            "precision": took or "as measured",
            "wall_s": round(wall, 1),
            "children": [json.loads(line) for line in lines],
            "verdict": next(iter(found.values()), None),
        }


def _measured_command(folder: str) -> Sequence[str]:
    """The program's own trial process, behind one that writes down what it took."""
    return (sys.executable, __file__, "--child", folder, *command_of_this_program())


def _child(folder: str, command: Sequence[str]) -> int:
    began = time.perf_counter()
    status = subprocess.run(command, check=False).returncode
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    line = {
        "trial_of_int8": "--int8" in command,
        "wall_s": round(time.perf_counter() - began, 1),
        "processor_s": round(used.ru_utime + used.ru_stime, 1),
        "peak_gb": round(used.ru_maxrss / 1e6, 2),
    }
    with Path(folder, "children").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return status


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        sys.exit(_child(sys.argv[2], sys.argv[3:]))
    main()
