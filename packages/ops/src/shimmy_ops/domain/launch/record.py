"""Whether a record is whole: its chain, its signatures, and its end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from shimmy_ops.domain.launch.commands import canonical
from shimmy_ops.domain.launch.entries import (
    NOTHING,
    Entry,
    line_digest,
    parse_entry,
    signed_part,
)


class Verifier(Protocol):
    """A public key."""

    @property
    def fingerprint(self) -> str:
        """What it is known by."""
        ...

    def verify(self, content: bytes, signature: str) -> bool:
        """Whether ``signature`` (hexadecimal) is this key's for ``content``."""
        ...


@dataclass(frozen=True, slots=True)
class KeptRecord:
    """The files as they are: the lines, and the signed note of where they end, if there is one."""

    lines: bytes
    head: bytes | None


@dataclass(frozen=True, slots=True)
class CheckedRecord:
    """``problems`` say what was tampered with; ``torn`` bytes at the end were never finished.

    ``last`` is what the next entry names as the one before it.
    """

    entries: tuple[Entry, ...]
    problems: tuple[str, ...]
    torn: int
    last: str


def check_record(kept: KeptRecord, key: Verifier, *, rehearsal: bool) -> CheckedRecord:
    """Read every line, and hold it against the one before, the key and the note of the end."""
    *lines, tail = kept.lines.split(b"\n")
    entries, problems, previous = list[Entry](), list[str](), NOTHING
    for number, line in enumerate(lines, start=1):
        entry = parse_entry(line)
        if entry is None:
            problems.append(f"line {number} is no entry as we write them")
        else:
            wrong = _wrong(entry, number, previous, key, rehearsal=rehearsal)
            problems += (f"line {number}: {one}" for one in wrong)
            entries.append(entry)
        previous = line_digest(line)
    problems += _end(kept.head, [line_digest(line) for line in lines], key, torn=len(tail))
    return CheckedRecord(tuple(entries), tuple(problems), len(tail), previous)


def _wrong(
    entry: Entry, number: int, previous: str, key: Verifier, *, rehearsal: bool
) -> Iterator[str]:
    if entry.number != number:
        yield f"it says that it is number {entry.number}"
    if entry.previous != previous:
        yield "the one before it is not the one that it was written after"
    if entry.rehearsal != rehearsal:
        yield "it belongs to the other record" + (", of the launch" if rehearsal else "")
    if entry.key != key.fingerprint:
        yield "it is signed with another key"
    elif not key.verify(signed_part(entry), entry.signature):
        yield "its signature is not for what it says"


def head_line(number: int, last: str, sign: Callable[[bytes], str]) -> bytes:
    """The signed note of where a record ends: so many entries, and the last one's digest."""
    said = {"number": number, "sha256": last}
    return canonical({**said, "signature": sign(canonical(said))})


def _end(head: bytes | None, digests: Sequence[str], key: Verifier, *, torn: int) -> Iterator[str]:
    """The note is written after its line: it may be one behind, and never ahead.

    The first one, of no entry, is written before there is a line.
    """
    if head is None:
        if digests:
            yield "the note of where the record ends is gone"
        return
    found = _parse_head(head, key)
    if found is None or found[0] < 0:
        yield "the note of where the record ends is damaged"
        return
    number, last = found
    if len(digests) < number:
        cut = " (the last line was cut short after it had been whole)" if torn else ""
        yield f"the record ended with entry {number}, and now has {len(digests)}{cut}"
    elif len(digests) > number + 1:
        yield f"the record has entries after number {number + 1} that nobody finished writing"
    elif last != (digests[number - 1] if number else NOTHING):
        yield f"entry {number} is not the one that the record ended with"


def _parse_head(head: bytes, key: Verifier) -> tuple[int, str] | None:
    try:
        data = json.loads(head)
        said = {"number": int(data["number"]), "sha256": str(data["sha256"])}
        signature = str(data["signature"])
        whole = canonical({**said, "signature": signature}) == head
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    right = whole and key.verify(canonical(said), signature)
    return (int(data["number"]), str(data["sha256"])) if right else None
