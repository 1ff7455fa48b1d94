"""The ``EngineProbe`` port: a child process goes first.

ggml aborts the process on a failed assertion, a library built for another CPU
dies of an illegal instruction, and a damaged file can crash a C++ loader. The
child loads the same files with the same options and encodes and decodes once;
only when it has come back does this process load them.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, astuple, replace
from pathlib import Path
from typing import NamedTuple

from shimmy_vision.adapters.files.json_record import read_record, write_record
from shimmy_vision.errors import LibraryError, ModelError, ShimmyError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine_probe import (
    EncoderOrder,
    EngineFiles,
    EngineOptions,
    Gpu,
    LibraryReport,
)

_TIMEOUT_SECONDS = 600
_NOT_OPENVINO = "OpenVINO failed in a trial process."
_ERROR_LINE = "shimmy-probe-error:"
_TELLING = ("GGML_ASSERT", "GGML_ABORT", "error", "terminate", "what()", "fail")


class _Finished(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


class ChildProbe:
    """Runs ``command`` with the probe's arguments; remembers what passed in ``record``."""

    def __init__(self, command: Sequence[str], library_directory: Path, record: Path) -> None:
        self._command = tuple(command)
        self._library_directory = library_directory
        self._record = record

    def probe(
        self, files: EngineFiles, options: EngineOptions, cancellation: Cancellation
    ) -> EngineOptions:
        plain = replace(options, encoder=EncoderOrder("mtmd", reason=_NOT_OPENVINO))
        passed = self._passed()
        if self._key(files, options) in passed:
            return options
        if options.encoder.wish == "auto" and self._key(files, plain) in passed:
            return plain
        try:
            self._try(files, options, cancellation)
        except LibraryError:
            if options.encoder.wish != "auto":
                raise
            # Perhaps only the faster encoder cannot be used here.
            self._try(files, plain, cancellation)
            options = plain
        self._remember(self._key(files, options))
        return options

    def _try(self, files: EngineFiles, options: EngineOptions, cancellation: Cancellation) -> None:
        finished = self._run(
            [
                *("--main", str(files.main), "--projector", str(files.projector)),
                *("--family", files.family, "--threads", str(options.threads)),
                *("--gpu-layers", str(options.gpu_layers)),
                *("--context", str(options.context_size)),
                *("--sequences", str(options.sequences)),
                *("--encoder", options.encoder.wish),
                *("--projector-sha256", files.projector_sha256),
            ],
            cancellation,
        )
        if finished.returncode != 0:
            names = f"{files.main.name} and {files.projector.name}"
            raise _translate(finished, self._library_directory, names)

    def describe_library(self, cancellation: Cancellation) -> LibraryReport:
        finished = self._run([], cancellation)
        if finished.returncode != 0:
            raise _translate(finished, self._library_directory, "itself")
        fields = json.loads(finished.stdout.splitlines()[-1])
        gpus = tuple(Gpu(**gpu) for gpu in fields["gpus"])
        return LibraryReport(**{**fields, "gpus": gpus})

    def _run(self, arguments: list[str], cancellation: Cancellation) -> _Finished:
        command = [*self._command, "--library", str(self._library_directory), *arguments]
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise LibraryError(
                "probe-not-started", f"The trial process could not be started: {error}"
            ) from error
        with child, cancellation.when_cancelled(child.kill):
            try:
                stdout, stderr = child.communicate(timeout=_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired as error:
                child.kill()
                raise LibraryError(
                    "probe-timeout",
                    f"The model did not load within {_TIMEOUT_SECONDS} s in a trial process.",
                    hint="Free memory, or use a smaller model: shimmy models list",
                    retryable=True,
                ) from error
        cancellation.check()
        return _Finished(child.returncode, stdout, stderr)

    def _key(self, files: EngineFiles, options: EngineOptions) -> str:
        identities = [
            (str(path), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            for path in (*sorted(self._library_directory.iterdir()), files.main, files.projector)
            for status in (path.stat(),)
        ]
        # Other devices, and several sequences, take other ways through the library.
        encoder = [*astuple(replace(options.encoder, folder=None)), _installed_openvino()]
        ways = [options.gpu_layers != 0, options.sequences > 1, *encoder]
        return hashlib.sha256(json.dumps([identities, ways]).encode()).hexdigest()

    def _remember(self, key: str) -> None:
        # Losing a record only means probing again, so a full disk is no error here.
        with contextlib.suppress(OSError):
            passed = [*self._passed(), key][-50:]
            write_record(self._record, {"passed": passed})

    def _passed(self) -> list[str]:
        passed = read_record(self._record).get("passed")
        return passed if isinstance(passed, list) else []


def report_probe_error(error: ShimmyError) -> str:
    """What the child prints so that the parent can raise the same error."""
    kind = "model" if isinstance(error, ModelError) else "library"
    fields = {"kind": kind, "code": error.code, "message": error.message, "hint": error.hint}
    return _ERROR_LINE + json.dumps(fields)


def report_library(report: LibraryReport, encoder: str, usable: bool) -> str:
    """What the child prints when it was asked for the library alone, and what encodes images."""
    return json.dumps(asdict(replace(report, encoder=encoder, encoder_usable=usable)))


def _installed_openvino() -> list[str | int]:
    """Which OpenVINO would be loaded: another one is tried again."""
    built = sys.modules.get("shimmy_single_file")
    if built is not None:
        # It is unpacked to another place each time, and only when it is imported.
        return [built.PARTS.identify("openvino")]
    found = importlib.util.find_spec("openvino")
    if found is None or found.origin is None:
        return []
    return [found.origin, Path(found.origin).stat().st_mtime_ns]


def _translate(finished: _Finished, library: Path, names: str) -> ShimmyError:
    for line in finished.stdout.splitlines():
        if line.startswith(_ERROR_LINE):
            fields = json.loads(line.removeprefix(_ERROR_LINE))
            kind = ModelError if fields["kind"] == "model" else LibraryError
            return kind(fields["code"], fields["message"], hint=fields["hint"])
    if finished.returncode < 0:
        return _crash(-finished.returncode, finished.stderr, library, names)
    return LibraryError(
        "library-probe-failed",
        f"The trial process failed with status {finished.returncode}: "
        f"{_cause(finished.stderr) or 'it printed nothing'}",
        hint="Run: shimmy doctor",
    )


def _crash(number: int, stderr: str, library: Path, names: str) -> LibraryError:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    cause = _cause(stderr)
    said = f" Its last words: {cause}" if cause else ""
    if name == "SIGILL":
        return LibraryError(
            "library-wrong-cpu",
            f"The native library in {library} uses instructions this CPU does not have.{said}",
            hint="Reinstall on this machine: pip install --force-reinstall shimmy-vision",
        )
    if name == "SIGKILL":
        return LibraryError(
            "library-out-of-memory",
            f"The system killed the trial process while it loaded {names}: "
            "most likely there is not enough memory.",
            hint="Free memory, or use a smaller model: shimmy models list",
            retryable=True,
        )
    return LibraryError(
        "library-crashed",
        f"llama.cpp crashed ({name}) while loading {names} in a trial process.{said}",
        hint="Check the files with: shimmy models verify. If they are whole, "
        "reinstall the library: pip install --force-reinstall shimmy-vision",
    )


def _cause(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line for word in _TELLING)]
    # Assertions name the source by where it was built; only its place in llama.cpp tells anything.
    return re.sub(r"\S*/vendor/llama\.cpp/", "", (telling or lines or [""])[0])[:300]


def command_of_this_program(command: str = "probe-engine") -> tuple[str, ...]:
    """How to start one of this program's hidden commands in a child process.

    ``-P``: with ``-m`` alone Python takes modules from the current folder first, whosever it is.
    """
    return (sys.executable, "-P", "-m", "shimmy_vision", command)
