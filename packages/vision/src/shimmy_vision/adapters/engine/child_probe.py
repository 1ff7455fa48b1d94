"""The ``EngineProbe`` port: a child process goes first.

ggml aborts the process on a failed assertion, a library built for another CPU
dies of an illegal instruction, and a damaged file can crash a C++ loader. The
child loads the same files with the same options and encodes and decodes once;
only when it has come back does this process load them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, replace
from pathlib import Path
from typing import Any, NamedTuple

from shimmy_vision.adapters.engine.int8_verdicts import (
    Int8Proof,
    has_room,
    int8_proof,
    machine_identity,
)
from shimmy_vision.adapters.files.json_record import read_record, write_record
from shimmy_vision.domain.model.int8_verdict import parse_verdict
from shimmy_vision.errors import LibraryError, ModelError, ShimmyError, StoppedError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine_probe import (
    EncoderOrder,
    EngineFiles,
    EngineOptions,
    Gpu,
    LibraryReport,
)

_MOST_SECONDS = 600.0
# After what the trial itself allows for, time for what was begun before.
_INT8_SECONDS = 240.0
_NOT_OPENVINO = "OpenVINO failed in a trial process."
_DID_NOT_RUN = "the engine did not run with it"
_ERROR_LINE = "shimmy-probe-error:"
_INT8_LINE = "shimmy-int8-trial:"
_TELLING = ("GGML_ASSERT", "GGML_ABORT", "error", "terminate", "what()", "fail")


class _Finished(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


class ChildProbe:
    """Runs ``command`` with the probe's arguments; remembers what passed in ``record``."""

    def __init__(
        self,
        command: Sequence[str],
        library_directory: Path,
        record: Path,
        *,
        int8_seconds: float = _INT8_SECONDS,
    ) -> None:
        """``int8_seconds`` is how long int8 may be on trial."""
        self._command = tuple(command)
        self._library_directory = library_directory
        self._record = record
        self._int8_seconds = int8_seconds

    def probe(
        self, files: EngineFiles, options: EngineOptions, cancellation: Cancellation
    ) -> EngineOptions:
        plain = replace(options, encoder=EncoderOrder("mtmd", reason=_NOT_OPENVINO))
        passed = self._passed()
        known = [self._key(files, way) in passed for way in (options, plain)]
        if options.encoder.wish == "auto" and known == [False, True]:
            return plain
        proof = int8_proof(files, options, self._library_directory)
        if proof is None or not self._holds_int8(proof, files, options, cancellation):
            return self._first_passing(files, _ways(options, plain), cancellation)
        int8 = replace(options, encoder=replace(options.encoder, precision="int8"))
        way = self._first_passing(files, [int8, *_ways(options, plain)], cancellation)
        if way is options:
            proof.give_up(_DID_NOT_RUN)
        return way

    def _first_passing(
        self, files: EngineFiles, ways: Sequence[EngineOptions], cancellation: Cancellation
    ) -> EngineOptions:
        """The first of ``ways`` that passed before or passes now. Raises what the last raises."""
        passed = self._passed()
        for way in ways:
            key = self._key(files, way)
            if key in passed:
                return way
            try:
                self._try(files, way, cancellation)
            except LibraryError:
                if way is ways[-1]:
                    raise
                continue
            self._remember(key)
            return way
        raise ValueError("there is no way to try")

    def _holds_int8(
        self,
        proof: Int8Proof,
        files: EngineFiles,
        options: EngineOptions,
        cancellation: Cancellation,
    ) -> bool:
        """Whether int8 was proved with this projector here; found out where that was not tried."""
        verdict = proof.find()
        undecided = verdict is None or verdict.outcome == "failed"
        if undecided and has_room(files) and proof.begin():
            try:
                self._try_int8(proof, files, options, cancellation)
            except StoppedError:
                proof.withdraw()
                raise
            verdict = proof.find()
        return verdict is not None and verdict.outcome == "held"

    def _try_int8(
        self,
        proof: Int8Proof,
        files: EngineFiles,
        options: EngineOptions,
        cancellation: Cancellation,
    ) -> None:
        """Whatever becomes of the trial is a verdict. Raises StoppedError."""
        arguments = [*_arguments(files, options), "--int8"]
        try:
            finished = self._run(arguments, cancellation, self._int8_seconds)
        except LibraryError as error:
            proof.fail(error.message)
            return
        found = _read_trial(finished.stdout)
        if finished.returncode == 0 and found is not None:
            proof.remember(found)
            return
        names = f"{files.main.name} and {files.projector.name}"
        proof.fail(_translate(finished, self._library_directory, names).message)

    def _try(self, files: EngineFiles, options: EngineOptions, cancellation: Cancellation) -> None:
        finished = self._run(_arguments(files, options), cancellation)
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

    def _run(
        self, arguments: list[str], cancellation: Cancellation, most_seconds: float = _MOST_SECONDS
    ) -> _Finished:
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
                stdout, stderr = child.communicate(timeout=most_seconds)
            except subprocess.TimeoutExpired as error:
                child.kill()
                raise LibraryError(
                    "probe-timeout",
                    f"The model did not load within {most_seconds:.0f} s in a trial process.",
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
        encoder = [*astuple(replace(options.encoder, folder=None)), machine_identity()]
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


def report_int8(record: Mapping[str, Any]) -> str:
    """What the child prints when int8 was on trial."""
    return _INT8_LINE + json.dumps(record)


def _read_trial(stdout: str) -> dict[str, Any] | None:
    """What ``report_int8`` printed; None if that is no verdict."""
    for line in stdout.splitlines():
        if line.startswith(_INT8_LINE):
            with contextlib.suppress(ValueError):
                found = json.loads(line.removeprefix(_INT8_LINE))
                return found if parse_verdict(found) is not None else None
    return None


def _ways(options: EngineOptions, plain: EngineOptions) -> list[EngineOptions]:
    """Perhaps only the faster encoder cannot be used here, and libmtmd may take its place."""
    return [options, plain] if options.encoder.wish == "auto" else [options]


def _arguments(files: EngineFiles, options: EngineOptions) -> list[str]:
    """The child's, for a whole engine."""
    precision = options.encoder.precision
    return [
        *("--main", str(files.main), "--projector", str(files.projector)),
        *("--family", files.family, "--threads", str(options.threads)),
        *("--gpu-layers", str(options.gpu_layers)),
        *("--context", str(options.context_size)),
        *("--sequences", str(options.sequences)),
        *("--encoder", options.encoder.wish),
        *(("--precision", precision) if precision is not None else ()),
        *("--main-sha256", files.main_sha256),
        *("--projector-sha256", files.projector_sha256),
    ]


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
