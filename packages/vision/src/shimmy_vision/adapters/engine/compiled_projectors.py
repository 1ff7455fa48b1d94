"""Compiled projectors on disk: made once, mapped ever after.

A kept one is named by the digest of all that it depends on. Beside it lies its own digest with
the file's identity: a file that has not been touched is taken at its word, any other is read in
whole; what is damaged is made again. Where nothing can be kept, a projector is compiled each time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shimmy_vision.adapters.engine.openvino_graph import GRAPH_VERSION, BuiltGraph
from shimmy_vision.adapters.engine.openvino_library import OpenVino
from shimmy_vision.adapters.engine.projector_tensors import forget_pages
from shimmy_vision.adapters.files.json_record import read_record, write_record
from shimmy_vision.domain.model.encoder_choice import Precision

_KEPT = 2
_PIECE = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class CompiledProjector:
    """``model`` runs; ``forget`` gives back memory that only its making needed.

    ``held`` is what it points into.
    """

    model: Any
    held: object
    forget: Callable[[], None]
    kept: bool


class CompiledProjectors:
    """Those in ``folder``; None keeps nothing."""

    def __init__(self, openvino: OpenVino, folder: Path | None, threads: int) -> None:
        self._openvino, self._folder, self._threads = openvino, folder, threads

    def open(
        self, projector_sha256: str, precision: Precision, build: Callable[[], BuiltGraph]
    ) -> CompiledProjector:
        """The kept one, or what ``build`` makes. Raises RuntimeError as OpenVINO does."""
        settings = self._openvino.settings(precision, self._threads)
        path = self._path(projector_sha256, precision)
        if path is None:
            return self._compiled(build, settings)
        kept = self._mapped(path, settings)
        if kept is not None:
            return kept
        made = self._compiled(build, settings)
        if self._keep(path, made.model):
            # Mapped again, the matrices in memory are the file's, and those just made can go.
            return self._mapped(path, settings) or made
        return made

    def keep(
        self, projector_sha256: str, precision: Precision, compiled: CompiledProjector
    ) -> bool:
        """Keep what was made elsewhere; False where that cannot be."""
        path = self._path(projector_sha256, precision)
        return path is not None and self._keep(path, compiled.model)

    def _path(self, projector_sha256: str, precision: Precision) -> Path | None:
        if self._folder is None or not projector_sha256:
            return None
        openvino = self._openvino
        capabilities = sorted(openvino.capabilities)
        named = [projector_sha256, openvino.version, openvino.cpu, capabilities]
        key = json.dumps([*named, precision, GRAPH_VERSION])
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.blob"

    def _compiled(
        self, build: Callable[[], BuiltGraph], settings: dict[str, Any]
    ) -> CompiledProjector:
        built = build()
        model = self._openvino.core.compile_model(built.model, "CPU", settings)
        return CompiledProjector(model, built.held, lambda: None, kept=False)

    def _mapped(self, path: Path, settings: dict[str, Any]) -> CompiledProjector | None:
        if not _is_sound(path):
            return None
        try:
            with path.open("rb") as file:
                # See ProjectorTensors: never written to.
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            memory = np.frombuffer(mapped, dtype=np.uint8)
            tensor = self._openvino.package.Tensor(memory, shared_memory=True)
            model = self._openvino.core.import_model(tensor, "CPU", settings)
        except (OSError, RuntimeError):
            _drop(path)
            return None
        with contextlib.suppress(OSError):
            os.utime(path.with_suffix(".json"))
        return CompiledProjector(model, (memory, tensor), lambda: forget_pages(mapped), kept=True)

    def _keep(self, path: Path, model: Any) -> bool:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write(path, model.export_model().getbuffer())
        except (OSError, RuntimeError):
            # A full disk only means compiling again next time.
            return False
        _drop_older(path.parent)
        return True


def _is_sound(path: Path) -> bool:
    """Whether the file is what was written, by its identity or else by every byte of it."""
    record = read_record(path.with_suffix(".json"))
    try:
        if record.get("file") == _identity(path):
            return True
        if record.get("sha256") != _digest(path):
            _drop(path)
            return False
        write_record(path.with_suffix(".json"), {**record, "file": _identity(path)})
    except OSError:
        return False
    return True


def _identity(path: Path) -> str:
    status = path.stat()
    return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _write(path: Path, data: memoryview) -> None:
    """Beside, synced, renamed; then its digest. Raises OSError."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    digest = hashlib.sha256(data).hexdigest()
    write_record(path.with_suffix(".json"), {"sha256": digest, "file": _identity(path)})


def _drop(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
        path.with_suffix(".json").unlink(missing_ok=True)


def _drop_older(folder: Path) -> None:
    """Only the few used last stay: an update of anything leaves one behind that nobody wants."""

    def used(path: Path) -> float:
        record = path.with_suffix(".json")
        return record.stat().st_mtime if record.exists() else 0.0

    with contextlib.suppress(OSError):
        for path in sorted(folder.glob("*.blob"), key=used, reverse=True)[_KEPT:]:
            _drop(path)
