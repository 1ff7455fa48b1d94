"""What goes through the pipe between a program and its engine process: JSON, then bytes.

A frame is two lengths of four bytes, most significant first, then a JSON object and raw bytes of
those lengths. Both ends are this very program, so a malformed frame means that the pipe broke.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import IO, Any, NamedTuple

from shimmy_vision.domain.answer.analysis_request import (
    AnalysisRequest,
    AnswerLimits,
    CustomQuestion,
    StandardQuestion,
)
from shimmy_vision.errors import (
    DeadlineError,
    ImageError,
    LibraryError,
    LicenceError,
    LicenceServerError,
    LicenceStateError,
    ModelError,
    SchemaError,
    ShimmyError,
    StoppedError,
    UsageError,
)

_HEAD = struct.Struct(">II")
# A result with raw words stays far below; an image is bounded by intake.
_LONGEST = 1 << 30
_KINDS: Mapping[str, type[ShimmyError]] = {
    kind.__name__: kind
    for kind in (
        DeadlineError,
        ImageError,
        LibraryError,
        LicenceError,
        LicenceServerError,
        LicenceStateError,
        ModelError,
        SchemaError,
        StoppedError,
        UsageError,
    )
}


class Frame(NamedTuple):
    """One message: ``head`` says what it is, ``body`` holds an image or nothing."""

    head: dict[str, Any]
    body: bytes = b""


class PipeBrokenError(Exception):
    """The other end is gone, or speaks nothing that we know."""


def write_frame(pipe: IO[bytes], frame: Frame) -> None:
    """Raises PipeBrokenError."""
    head = json.dumps(frame.head).encode()
    try:
        pipe.write(_HEAD.pack(len(head), len(frame.body)) + head)
        pipe.write(frame.body)
        pipe.flush()
    except (OSError, ValueError) as error:
        raise PipeBrokenError("pipe-closed") from error


def read_frame(pipe: IO[bytes]) -> Frame | None:
    """The next message; None at the end of the pipe. Raises PipeBrokenError."""
    start = _exactly(pipe, _HEAD.size, end_is_fine=True)
    if not start:
        return None
    sizes = _HEAD.unpack(start)
    if max(sizes) > _LONGEST:
        raise PipeBrokenError("frame-too-long")
    head, body = (_exactly(pipe, size) for size in sizes)
    try:
        read = json.loads(head)
    except ValueError as error:
        raise PipeBrokenError("frame-not-json") from error
    if not isinstance(read, dict):
        raise PipeBrokenError("frame-not-object")
    return Frame(read, body)


def _exactly(pipe: IO[bytes], size: int, *, end_is_fine: bool = False) -> bytes:
    try:
        data = pipe.read(size)
    except (OSError, ValueError) as error:
        raise PipeBrokenError("pipe-closed") from error
    if len(data) != size and not (end_is_fine and not data):
        raise PipeBrokenError("frame-cut-short")
    return data


def request_fields(request: AnalysisRequest) -> dict[str, Any]:
    """A request as JSON."""
    question, limits = request.question, request.limits
    asked: dict[str, Any] = (
        {"mode": question.mode}
        if isinstance(question, StandardQuestion)
        else {"prompt": question.prompt, "schema": question.schema}
    )
    return {
        **asked,
        "max_tokens": limits.max_tokens,
        "seed": limits.seed,
        "skip_forced": limits.skip_forced,
        "raw": request.raw,
    }


def request_of(fields: Mapping[str, Any]) -> AnalysisRequest:
    """The request that ``request_fields`` wrote."""
    question = (
        StandardQuestion(fields["mode"])
        if "mode" in fields
        else CustomQuestion(fields["prompt"], fields["schema"])
    )
    limits = AnswerLimits(fields["max_tokens"], fields["seed"], fields["skip_forced"])
    return AnalysisRequest(question, limits, raw=fields["raw"])


def error_fields(error: ShimmyError) -> dict[str, Any]:
    """An error as JSON."""
    known = next(kind for kind in type(error).__mro__ if kind.__name__ in _KINDS)
    return {
        "kind": known.__name__,
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "retryable": error.retryable,
    }


def error_of(fields: Mapping[str, Any]) -> ShimmyError:
    """The error that ``error_fields`` wrote, of the same class."""
    kind = _KINDS[fields["kind"]]
    raised: ShimmyError = kind.__new__(kind)
    # Their constructors differ; what all of them keep is this.
    ShimmyError.__init__(
        raised,
        fields["code"],
        fields["message"],
        hint=fields["hint"],
        retryable=fields["retryable"],
    )
    if isinstance(raised, LicenceServerError):
        raised.retry_after, raised.sent = None, True
    return raised
