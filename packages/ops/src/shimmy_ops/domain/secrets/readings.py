"""Bytes as the texts they may be: UTF-8, UTF-16, Latin-1, or what is printable in a binary."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from shimmy_ops.domain.secrets.findings import Spot

_ASCII_RUNS = re.compile(rb"[\t\r\n\x20-\x7e]{8,}")
_WIDE_LITTLE = re.compile(rb"(?:[\t\r\n\x20-\x7e]\x00){8,}")
_WIDE_BIG = re.compile(rb"(?:\x00[\t\r\n\x20-\x7e]){8,}")
_MARKS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))
_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08", b"\xfd7zXZ\x00")
_SAMPLE = 4096


@dataclass(frozen=True, slots=True)
class Reading:
    """A text, and how its places are named: by lines, or by offsets of its runs in the bytes."""

    text: str
    starts: tuple[int, ...] = ()
    offsets: tuple[int, ...] = ()
    width: int = 1

    def spot(self, start: int) -> Spot:
        """Where the character at ``start`` is."""
        if self.starts:
            run = bisect_right(self.starts, start) - 1
            return Spot(offset=self.offsets[run] + (start - self.starts[run]) * self.width)
        line_start = self.text.rfind("\n", 0, start) + 1
        return Spot(self.text.count("\n", 0, start) + 1, start - line_start + 1)


def read_texts(content: bytes) -> Iterator[Reading]:
    """One reading of a text file, and of a binary one for each width of characters."""
    text = _as_text(content)
    if text is not None:
        yield Reading(text)
        return
    for pattern, encoding, width in (
        (_ASCII_RUNS, "ascii", 1),
        (_WIDE_LITTLE, "utf-16-le", 2),
        (_WIDE_BIG, "utf-16-be", 2),
    ):
        reading = _runs(content, pattern, encoding, width)
        if reading:
            yield reading


def is_archive(content: bytes) -> bool:
    """Whether ``content`` begins as an archive: what it holds is read from its members alone."""
    return content.startswith(_ARCHIVES) or content[257:262] == b"ustar"


def is_text(content: bytes) -> bool:
    """Whether ``content`` is a text as a whole."""
    return _as_text(content) is not None


def _as_text(content: bytes) -> str | None:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    if b"\x00" not in content:
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            odd = sum(byte < 9 or 13 < byte < 32 for byte in content[:_SAMPLE])
            return content.decode("latin-1") if not odd else None
    sample = content[:_SAMPLE]
    # ASCII in UTF-16 without a mark: every second byte is zero, the others never are.
    if sample[1::2].count(0) > 0.6 * len(sample) / 2 and not sample[::2].count(0):
        return content.decode("utf-16-le", "replace")
    if sample[::2].count(0) > 0.6 * len(sample) / 2 and not sample[1::2].count(0):
        return content.decode("utf-16-be", "replace")
    return None


def _runs(content: bytes, pattern: re.Pattern[bytes], encoding: str, width: int) -> Reading | None:
    texts, starts, offsets, length = [], [], [], 0
    for found in pattern.finditer(content):
        text = found[0].decode(encoding)
        texts.append(text)
        starts.append(length)
        offsets.append(found.start())
        length += len(text) + 1
    if not texts:
        return None
    # A NUL between runs: no pattern goes over it.
    return Reading("\0".join(texts), tuple(starts), tuple(offsets), width)
