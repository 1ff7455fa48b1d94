"""Whether a server's reply continues a partial download, and when to try again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

# Bounded: Python refuses to read integers of thousands of digits, and no file needs more.
_NUMBER = re.compile(r"[0-9]{1,18}")
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_UNSATISFIED = re.compile(r"bytes \*/([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class PartState:
    """What is on disk: bytes so far, and the server's tag for the file they came from."""

    size: int
    tag: str


@dataclass(frozen=True, slots=True)
class ServerReply:
    """What the server said; ``length`` is the body's announced length, None if it said none."""

    status: int
    tag: str
    content_range: str
    length: int | None


@dataclass(frozen=True, slots=True)
class Append:
    """The body continues the part; ``total`` is the file's whole size if the server told it."""

    total: int | None


@dataclass(frozen=True, slots=True)
class Restart:
    """The body is the whole file: forget the part."""

    total: int | None


@dataclass(frozen=True, slots=True)
class AlreadyComplete:
    """The part holds everything the server has."""


@dataclass(frozen=True, slots=True)
class AskAgain:
    """The reply fits neither: drop the part and ask for the whole file."""

    reason: str


ResumeDecision: TypeAlias = Append | Restart | AlreadyComplete | AskAgain


def decide_resume(part: PartState, reply: ServerReply) -> ResumeDecision:
    """For a reply of status 200, 206 or 416 to a request for bytes from ``part.size`` on."""
    if reply.status == 200:
        return Restart(reply.length)
    if reply.status == 416:
        match = _UNSATISFIED.fullmatch(reply.content_range)
        complete = match is not None and int(match[1]) == part.size
        return AlreadyComplete() if complete else AskAgain("the server has fewer bytes than we do")
    match = _RANGE.fullmatch(reply.content_range)
    if match is None or int(match[1]) != part.size or int(match[2]) < int(match[1]):
        return AskAgain(f"the server sent another range: {reply.content_range[:60] or 'none'}")
    if part.tag and reply.tag and part.tag != reply.tag:
        return AskAgain("the file changed on the server")
    if reply.length is not None and reply.length != int(match[2]) - int(match[1]) + 1:
        return AskAgain("the server's range and length contradict each other")
    return Append(None if match[3] == "*" else int(match[3]))


def read_number(text: str) -> int | None:
    """A whole number of an HTTP header; None if ``text`` is none."""
    return int(text) if _NUMBER.fullmatch(text) else None


def retry_delay(attempt: int, jitter: float, retry_after: float | None) -> float:
    """Seconds to wait before ``attempt`` (1, 2, …); ``jitter`` is drawn from 0…1."""
    if retry_after is not None:
        return min(max(retry_after, 0.0), 60.0)
    backoff: float = min(30.0, 0.5 * 2 ** (attempt - 1))
    return backoff * (0.5 + jitter / 2)
