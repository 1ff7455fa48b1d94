"""Does an image file stop before its end? Told from what the format says of its length."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

_BMP_HEADER_SIZES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})

_STRIP_OFFSETS, _STRIP_SIZES = 273, 279
_TILE_OFFSETS, _TILE_SIZES = 324, 325
_VALUE_FORMATS = {3: "H", 4: "I"}
_VALUE_SIZES = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8)  # bytes, by a TIFF value's kind
_MOST_VALUES = 1_000_000


def ends_early(data: bytes, decoder: str) -> bool:
    """Whether ``data``, which ``decoder`` (Pillow's name of the format) could not read, is cut off.

    False also where nothing tells.
    """
    try:
        return _RULES[decoder](data)
    except (struct.error, IndexError):
        return True  # a length field itself lies past the end


def _png(data: bytes) -> bool:
    at = 8
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        if name == b"IEND":
            return False
        at += 12 + size
    return True


def _jpeg(data: bytes) -> bool:
    return b"\xff\xd9" not in data[-4096:]


def _gif(data: bytes) -> bool:
    return not data.rstrip(b"\0").endswith(b";")


def _bmp(data: bytes) -> bool:
    size, header = struct.unpack_from("<I8xI", data, 2)
    return header in _BMP_HEADER_SIZES and bool(size > len(data))


def _webp(data: bytes) -> bool:
    (size,) = struct.unpack_from("<I", data, 4)
    return bool(size + 8 > len(data))


def _tiff(data: bytes) -> bool:
    order = "<" if data[:2] == b"II" else ">"
    if struct.unpack_from(order + "H", data, 2)[0] != 42:
        return False
    tags = dict(_tiff_tags(data, order))
    for offsets, sizes in ((_STRIP_OFFSETS, _STRIP_SIZES), (_TILE_OFFSETS, _TILE_SIZES)):
        parts = zip(tags.get(offsets, ()), tags.get(sizes, ()), strict=False)
        if any(offset + size > len(data) for offset, size in parts):
            return True
    return False


def _tiff_tags(data: bytes, order: str) -> Iterator[tuple[int, tuple[int, ...]]]:
    """The whole numbers of the first directory. Raises struct.error past the end."""
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    for place in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(order + "HHI", data, place)
        size = _VALUE_SIZES[kind] * values if kind < len(_VALUE_SIZES) else 0
        start = place + 8 if size <= 4 else struct.unpack_from(order + "I", data, place + 8)[0]
        if start + size > len(data):
            raise struct.error(f"values of tag {tag} lie past the end")
        if kind in _VALUE_FORMATS and values <= _MOST_VALUES:
            yield tag, struct.unpack_from(f"{order}{values}{_VALUE_FORMATS[kind]}", data, start)


_RULES: dict[str, Callable[[bytes], bool]] = {
    "PNG": _png,
    "JPEG": _jpeg,
    "GIF": _gif,
    "BMP": _bmp,
    "WEBP": _webp,
    "TIFF": _tiff,
}
