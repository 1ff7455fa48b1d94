"""How often a JPEG's picture is gone over: each scan costs as much as the picture has pixels.

A progressive file may have as many scans as it likes, a few bytes each: one of a megabyte can keep
a decoder busy for hours.
"""

from __future__ import annotations

_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers that no segment follows


def count_scans(data: bytes) -> int:
    """The scans of the JPEG in ``data``; what is no marker is skipped, as decoders do."""
    scans, at = 0, 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 1 < len(data):
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        at += 2
        if marker == _END_OF_IMAGE:
            break
        if marker == 0x00 or marker in _ALONE:  # a byte of the picture, or a restart within it
            continue
        scans += marker == _START_OF_SCAN
        at += int.from_bytes(data[at : at + 2], "big")
    return scans


def may_have_more_scans(data: bytes, most: int) -> bool:
    """False where there are certainly not more than ``most``; quick, and enough for most files."""
    return data.count(bytes([0xFF, _START_OF_SCAN])) > most
