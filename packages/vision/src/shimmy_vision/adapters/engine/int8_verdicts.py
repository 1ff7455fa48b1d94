"""What int8 was found to be worth, beside the compiled projectors; and whether to find out.

A verdict is named by all that it depends on, as the starting process can tell without loading
anything: the projector, OpenVINO, the native library, the processor, threads and the pictures.
What began is noted before and crossed out after: a trial that takes the machine with it is not
tried for ever.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from shimmy_vision.adapters.engine.llama_model import default_threads
from shimmy_vision.adapters.engine.openvino_graph import GRAPH_VERSION
from shimmy_vision.adapters.files.json_record import read_record, write_record
from shimmy_vision.domain.model.encoder_choice import worth_keeping
from shimmy_vision.domain.model.int8_verdict import (
    Int8Verdict,
    describe_verdict,
    parse_verdict,
    verdict_record,
)
from shimmy_vision.domain.model.trial_pictures import PICTURES_DIGEST
from shimmy_vision.ports.engine_probe import EngineFiles, EngineOptions

_RECORD = "int8.json"
_KEPT = 12
_TRIES = 2
_CPU_LINES = ("model name", "flags", "Features", "CPU implementer", "CPU part")
# In sizes of the projector: what compiling it in int8 takes at its peak, and then some.
_ROOM = 3


class Int8Proof:
    """The verdict named ``key`` in ``folder``, the one of the compiled projectors."""

    def __init__(self, folder: Path, key: str) -> None:
        self._path, self._key = folder / _RECORD, key

    def find(self) -> Int8Verdict | None:
        """None where nothing was found out, or what was is damaged."""
        return parse_verdict(self._entry())

    def begin(self) -> bool:
        """Note that a trial begins. False: it began too often, or nothing can be noted."""
        tries = self._entry().get("tries")
        tries = tries if isinstance(tries, int) else 0
        return tries < _TRIES and self._write({"tries": tries + 1})

    def remember(self, found: Mapping[str, Any]) -> None:
        """``found`` is a verdict's record and more. What failed is tried once more."""
        kept: dict[str, Any] = {**found, "machine": machine_identity()}
        if found.get("outcome") == "failed":
            kept["tries"] = self._entry().get("tries", 1)
        # A full disk only means trying again.
        self._write(kept)

    def fail(self, reason: str) -> None:
        """The trial came to no end."""
        self.remember(verdict_record(Int8Verdict("failed", reason=reason)))

    def give_up(self, reason: str) -> None:
        """It held, and the engine did not run with it: it is not tried again."""
        self._write({"tries": _TRIES})
        self.fail(reason)

    def withdraw(self) -> None:
        """Nothing began: it was stopped from outside."""
        self._write(None)

    def _entry(self) -> dict[str, Any]:
        entry = read_record(self._path).get(self._key)
        return entry if isinstance(entry, dict) else {}

    def _write(self, entry: dict[str, Any] | None) -> bool:
        record = read_record(self._path)
        record.pop(self._key, None)
        if entry is not None:
            record[self._key] = entry
        try:
            write_record(self._path, dict(list(record.items())[-_KEPT:]))
        except OSError:
            return False
        return True


def tell_verdict(folder: Path) -> str:
    """For ``shimmy doctor``: the newest verdict of this very machine, in words; or nothing."""
    machine = machine_identity()
    for entry in reversed(list(read_record(folder / _RECORD).values())):
        verdict = parse_verdict(entry)
        if verdict is not None and entry.get("machine") == machine:
            digest = str(entry.get("projector_sha256", ""))[:8]
            return describe_verdict(verdict) + (f" with projector {digest}" if digest else "")
    return ""


def int8_proof(
    files: EngineFiles, options: EngineOptions, library_directory: Path
) -> Int8Proof | None:
    """None where int8 is no question: precision is not left open, or the projector is small."""
    order = options.encoder
    if order.wish == "mtmd" or order.precision is not None or order.folder is None:
        return None
    if not files.projector_sha256 or not worth_keeping(files.projector.stat().st_size):
        return None
    if not installed_openvino():
        return None
    return Int8Proof(order.folder, _key(files, options, library_directory))


def _key(files: EngineFiles, options: EngineOptions, library_directory: Path) -> str:
    """The digest of all that a verdict depends on."""
    library = sorted((path.name, path.stat().st_size) for path in library_directory.iterdir())
    threads = options.threads or default_threads()
    named = [files.projector_sha256, library, threads, options.gpu_layers != 0]
    named += [machine_identity(), GRAPH_VERSION, PICTURES_DIGEST]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:32]


def has_room(files: EngineFiles) -> bool:
    """Whether memory that is free now holds a trial."""
    # Of the language model only the vocabulary is read: the rest are pages that nobody touches.
    needed = _ROOM * files.projector.stat().st_size
    return bool(psutil.virtual_memory().available >= needed)


def machine_identity() -> str:
    """The processor and the OpenVINO that would be loaded."""
    named = [cpu_identity(), *installed_openvino()]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:16]


def cpu_identity() -> str:
    """The processor's kind and features, without asking any library."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return "\n".join(sorted({line for line in lines if line.startswith(_CPU_LINES)}))


def installed_openvino() -> list[str | int]:
    """Which OpenVINO would be loaded; empty where there is none."""
    built = sys.modules.get("shimmy_single_file")
    if built is not None:
        # It is unpacked to another place each time, and only when it is imported.
        return [built.PARTS.identify("openvino")]
    found = importlib.util.find_spec("openvino")
    if found is None or found.origin is None:
        return []
    return [found.origin, Path(found.origin).stat().st_mtime_ns]
