"""What goes through the pipe between a program and its engine process: JSON, then bytes.

A frame is two lengths of four bytes, most significant first, then a JSON object and raw bytes of
those lengths. Both ends are this very program, so a malformed frame means that the pipe broke.
"""

from __future__ import annotations

import json
import struct
from typing import IO, Any, NamedTuple

_HEAD = struct.Struct(">II")
# A result with raw words stays far below; an image is bounded by intake.
_LONGEST = 1 << 30


class Frame(NamedTuple):
    """One message: ``head`` says what it is, ``body`` holds an image or nothing."""

    head: dict[str, Any]
    body: bytes = b""


class PipeBrokenError(Exception):
    """The other end is gone, or speaks nothing that we know."""


class UnsayableError(Exception):
    """This one message cannot be put into a frame; the pipe is as good as before."""


class Packed(NamedTuple):
    """A frame as it goes through the pipe, in two parts: its body may be large."""

    head: bytes
    body: bytes


def pack_frame(frame: Frame) -> Packed:
    """Raises UnsayableError where ``frame`` holds what JSON has no words for, or is too deep."""
    try:
        head = json.dumps(frame.head, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise UnsayableError("frame-unsayable") from error
    if max(len(head), len(frame.body)) > _LONGEST:
        raise UnsayableError("frame-too-large")
    return Packed(_HEAD.pack(len(head), len(frame.body)) + head, frame.body)


def write_packed(pipe: IO[bytes], packed: Packed) -> None:
    """Raises PipeBrokenError."""
    try:
        for part in packed:
            pipe.write(part)
        pipe.flush()
    except (OSError, ValueError) as error:
        raise PipeBrokenError("pipe-closed") from error


def write_frame(pipe: IO[bytes], frame: Frame) -> None:
    """Raises PipeBrokenError, or UnsayableError with nothing written."""
    write_packed(pipe, pack_frame(frame))


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
    except (ValueError, RecursionError) as error:
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
