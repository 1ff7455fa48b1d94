"""The cases that are about ``shimmy`` itself: commands, starting cold, memory, the encoder."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from peer_arena import OURS, Arena, say
from peer_contestants import HERE
from peer_material import screenshot
from replayed_passes import replay
from shimmy_vision.domain.model.encoder_choice import INT8_HELD

_IDLE_SECONDS = 3.0


def command(arena: Arena, _known: Mapping[str, Any]) -> dict[str, Any]:
    """``shimmy vision`` beside the bare request, both for a result that the server has kept."""
    order, server = arena.order, arena.ours()
    image, options = screenshot(400, 300), {"mode": "brief", "max_tokens": 16}
    server.post(image, **options)
    asked = ("vision", "--mode", "brief", "--max-tokens", "16")
    times: dict[str, list[float]] = {"command": [], "request": [], "command_processor": []}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "shot.png")
        file.write_bytes(image)
        for _ in range(max(3, 3 * order.repeat)):
            before = _spent()
            told, seconds = _run([*asked, str(file)], arena.variables)
            times["command"].append(seconds)
            times["command_processor"].append(_spent() - before)
            if not told["meta"]["cache"]["result"]:
                raise SystemExit("the command did not ask the server")
            began = time.perf_counter()
            server.post(image, **options)
            times["request"].append(time.perf_counter() - began)
    medians = {name: round(1000 * statistics.median(taken), 2) for name, taken in times.items()}
    extra = round(medians["command"] - medians["request"], 1)
    say(f"command: {extra} ms over the bare request")
    case = {"target": 120, "unit": "ms more", "value": extra, "met": extra <= 120}
    return {"command": {**case, "median_ms": medians, "all_s": _rounded(times)}}


def cold(arena: Arena, _known: Mapping[str, Any]) -> dict[str, Any]:
    """From the start of a process to the pair loaded, beside two ways of mapping the same files.

    Ours is a whole ``shimmy vision`` less its times of encoding, reading the prompt and writing:
    what it does after the answer counts against it. ``llama.cpp`` is ``mapped_load.py``: plain
    llama.cpp, weights mapped, a context, the projector. ``touch`` maps both files and reads a byte
    of every page. The files are in the page cache, and our command has run once before.
    """
    pair = [str(arena.pair.main), str(arena.pair.projector)]
    loader = [sys.executable, str(HERE / "mapped_load.py"), *pair]
    ways: dict[str, Callable[[], float]] = {
        OURS: lambda: _cold(arena),
        "llama.cpp": lambda: _loaded(loader),
        "touch": lambda: _loaded([*loader, "--touch"]),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    _cold(arena)
    for repetition in range(max(2, arena.order.repeat)):
        for name, way in ways.items():
            before = _spent()
            times[name].append(way())
            processor[name].append(_spent() - before)
        say(f"cold {repetition + 1}: " + ", ".join(f"{k} {v[-1]:.2f} s" for k, v in times.items()))
    medians = {name: round(statistics.median(taken), 4) for name, taken in times.items()}
    cases = {}
    for name, over in (("cold-over-llama.cpp", "llama.cpp"), ("cold-over-touch", "touch")):
        ratio = round(medians[OURS] / medians[over], 3)
        case = {"target": 1.3, "unit": "ratio", "ratio": ratio, "met": ratio <= 1.3}
        spent = {one: statistics.median(taken) for one, taken in processor.items()}
        told = {"over": over, "median_s": medians, "all_s": _rounded(times)}
        share = {"ratio_processor": round(spent[OURS] / spent[over], 3) if spent[over] else None}
        cases[name] = {**case, **told, **share, "processor_s": _rounded(processor)}
    return cases


def memory(arena: Arena, _known: Mapping[str, Any]) -> dict[str, Any]:
    """PSS of ``shimmy serve`` and all its processes, idle after loading, less both files' sizes.

    Told again after one screenshot. Nobody else may map the files meanwhile: contestants are ended
    first, and ``rss_mb`` is the sum of resident sizes, which no sharing lessens.
    """
    arena.close()
    server = arena.ours()
    time.sleep(_IDLE_SECONDS)
    loaded = _memory(server.pid)
    server.post(screenshot(*arena.order.size), mode="full", max_tokens=arena.order.max_tokens)
    time.sleep(_IDLE_SECONDS)
    used = _memory(server.pid)
    weights = sum(file.stat().st_size for file in (arena.pair.main, arena.pair.projector)) / 1e6
    extra = round(loaded["pss_mb"] - weights)
    say(f"memory: {extra} MB over the weights")
    case = {"target": 250, "unit": "MB more", "value": extra, "met": extra <= 250}
    told = {"weights_mb": round(weights), "after_load": loaded, "after_one_image": used}
    return {"memory": {**case, **told}}


def passes(arena: Arena, _known: Mapping[str, Any]) -> dict[str, Any]:
    """Forward passes over tokens of a written answer: what ``replayed_passes.py`` counts."""
    told = replay(arena.pair.main)
    ratio = round(told["forward_passes"] / told["generated"], 3)
    case = {"target": 0.65, "unit": "ratio", "ratio": ratio, "met": ratio <= 0.65}
    return {"forward-passes": {**case, **told}}


def encoder(arena: Arena, _known: Mapping[str, Any]) -> dict[str, Any]:
    """One slice through libmtmd and OpenVINO: ``encoder.py``, all others ended."""
    arena.close()
    order, family = arena.order, arena.pair.family
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "encoder.json")
        asked = ["--pair", str(arena.pair.main.parent), "--family", family]
        many = ["--threads", str(order.threads), "--repetitions", str(order.encoder_repeat)]
        script = [sys.executable, str(HERE / "encoder.py"), *asked, *many, "--out", str(out)]
        environment = {**os.environ, **arena.variables}
        subprocess.run(script, check=True, stdout=sys.stderr, env=environment)
        told = next(iter(json.loads(out.read_text(encoding="utf-8"))["cases"].values()))
    # What `auto` takes: the fastest that this CPU computes natively, int8 where it proves itself.
    proven = "int8" in told and told["int8"]["cosine_to_libmtmd"]["least"] >= INT8_HELD
    usual = next(name for name in ("bf16", "f16", "f32", "mtmd") if name in told)
    chosen = "int8" if proven else usual
    ratio = told[chosen]["wall_ratio"]
    case = {"target": 0.35, "unit": "ratio", "ratio": ratio, "met": ratio <= 0.35}
    return {"encoder-slice": {**case, "precision": chosen, "encoders": told}}


def _cold(arena: Arena) -> float:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "dot.png")
        file.write_bytes(screenshot(64, 64))
        asked = ["vision", "--no-server", "--mode", "brief", "--max-tokens", "1"]
        threads = ("--threads", str(arena.order.threads))
        told, seconds = _run([*asked, *threads, str(file)], arena.variables)
    times: dict[str, float] = told["meta"]["timings"]
    return seconds - sum(times[f"{stage}_ms"] for stage in ("encode", "prompt", "generate")) / 1000


def _loaded(loader: list[str]) -> float:
    """Seconds until the process says that it is done."""
    began = time.perf_counter()
    with subprocess.Popen(loader, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        if process.stdout is None or b"loaded" not in process.stdout.readline():
            raise SystemExit("llama.cpp cannot load this pair")
        return time.perf_counter() - began


def _spent() -> float:
    """Seconds of processors that ended children took."""
    children = os.times()
    return children.children_user + children.children_system


def _run(words: list[str], variables: Mapping[str, str]) -> tuple[dict[str, Any], float]:
    """What ``shimmy`` printed, and how many seconds it took from start to end."""
    script = str(Path(sys.executable).with_name("shimmy"))
    environment = {**os.environ, **variables}
    began = time.perf_counter()
    done = subprocess.run([script, *words], env=environment, stdout=subprocess.PIPE, check=True)
    seconds = time.perf_counter() - began
    return json.loads(done.stdout), seconds


def _memory(pid: int) -> dict[str, float]:
    """Megabytes of a process and all below it."""
    top = psutil.Process(pid)
    told = {"pss_mb": 0.0, "rss_mb": 0.0, "private_mb": 0.0}
    for one in (top, *top.children(recursive=True)):
        full = one.memory_full_info()
        told["pss_mb"] += getattr(full, "pss", full.rss) / 1e6
        told["private_mb"] += full.uss / 1e6
        told["rss_mb"] += full.rss / 1e6
    return {name: round(value, 1) for name, value in told.items()}


def _rounded(times: Mapping[str, list[float]]) -> dict[str, list[float]]:
    return {name: [round(value, 4) for value in taken] for name, taken in times.items()}
