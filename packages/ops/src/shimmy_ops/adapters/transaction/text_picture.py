"""A small picture with something like text on it, without an imaging library."""

from __future__ import annotations

import struct
import zlib

_WIDTH, _HEIGHT = 320, 200
_PAPER, _INK, _FRAME = b"\xff\xff\xff", b"\x22\x22\x2a", b"\x2b\x5f\xd9"
# Five by seven points a letter: S, I, G, N, and a gap.
_LETTERS = {
    "S": (0b01111, 0b10000, 0b10000, 0b01110, 0b00001, 0b00001, 0b11110),
    "I": (0b01110, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110),
    "G": (0b01110, 0b10001, 0b10000, 0b10111, 0b10001, 0b10001, 0b01110),
    "N": (0b10001, 0b11001, 0b10101, 0b10101, 0b10011, 0b10001, 0b10001),
    " ": (0, 0, 0, 0, 0, 0, 0),
}
_WORDS, _POINT, _LEFT, _TOP = "SIGN IN", 6, 34, 40


def draw_picture() -> bytes:
    """A PNG, 320 by 200 pixels: two words and a button below."""
    rows = b"".join(b"\0" + _row(y) for y in range(_HEIGHT))
    head = struct.pack(">IIBBBBB", _WIDTH, _HEIGHT, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _row(y: int) -> bytes:
    return b"".join(_pixel(x, y) for x in range(_WIDTH))


def _pixel(x: int, y: int) -> bytes:
    if 34 <= x < 286 and 120 <= y < 160:
        return _FRAME
    column, row = (x - _LEFT) // _POINT, (y - _TOP) // _POINT
    place, within = divmod(column, 6)
    inside = 0 <= row < 7 and 0 <= place < len(_WORDS) and within < 5
    return _INK if inside and _LETTERS[_WORDS[place]][row] >> (4 - within) & 1 else _PAPER


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + check
