"""Pictures that are a head of numbers: BMP, and TIFF with its lists of tags."""

from __future__ import annotations

import random
import struct

from fuzz_mutations import LONGEST, ODD_NUMBERS, mutate_bytes

_SIDES = (0, 1, 2, 7, 2000, 30_000, 65_535, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
# The width of each field behind the first ten bytes of a BMP, and what is worth trying there.
_BMP_FIELDS: tuple[tuple[int, str, tuple[int, ...]], ...] = (
    (10, "<I", (0, 14, 54, 1078, 0xFFFFFFFF)),
    (14, "<I", (0, 12, 16, 40, 52, 56, 64, 108, 124, 0xFFFFFFFF)),
    (18, "<I", _SIDES),
    (22, "<I", _SIDES),
    (26, "<H", (0, 1, 65_535)),
    (28, "<H", (0, 1, 2, 4, 8, 15, 16, 24, 32, 64, 65_535)),
    (30, "<I", (0, 1, 2, 3, 4, 5, 6, 11, 0xFFFFFFFF)),
    (34, "<I", _SIDES),
    (46, "<I", (0, 1, 256, 257, 0xFFFFFFFF)),
    (54, "<I", (0, 0xFF, 0xFF0000, 0xFFFFFFFF)),
)
_TAGS: tuple[tuple[int, int, tuple[int, ...]], ...] = (
    (256, 4, _SIDES),
    (257, 4, _SIDES),
    (258, 3, (0, 1, 2, 4, 8, 12, 16, 24, 32, 64)),
    (259, 3, (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34676, 34712, 34925, 50000, 50001)),
    (262, 3, (0, 1, 2, 3, 4, 5, 6, 8, 32803, 34892)),
    (266, 3, (1, 2)),
    (273, 4, _SIDES),
    (274, 3, (0, 1, 6, 9, 65_535)),
    (277, 3, (0, 1, 2, 3, 4, 5, 1000)),
    (278, 4, _SIDES),
    (279, 4, _SIDES),
    (284, 3, (1, 2, 3)),
    (317, 3, (1, 2, 3)),
    (320, 3, _SIDES),
    (322, 4, _SIDES),
    (323, 4, _SIDES),
    (324, 4, _SIDES),
    (330, 4, (8, 0, 0xFFFFFFFF)),
    (338, 3, (0, 1, 2)),
    (339, 3, (1, 2, 3, 4, 5)),
    (347, 7, _SIDES),
    (530, 3, (0, 1, 2, 4, 255)),
    (33432, 2, _SIDES),
    (34665, 4, (8, 0, 0xFFFFFFFF)),
    (34675, 7, _SIDES),
)


def mutate_bmp(chance: random.Random, data: bytes) -> bytes:
    """Its head's fields, and now and then its pixels."""
    changed = bytearray(data.ljust(58, b"\0"))
    for _ in range(chance.choice((1, 1, 2, 3))):
        at, form, values = chance.choice(_BMP_FIELDS)
        struct.pack_into(form, changed, at, chance.choice(values))
    if chance.random() < 0.3:
        changed[54:] = mutate_bytes(chance, bytes(changed[54:]), [data], ())
    return bytes(changed[:LONGEST])


def mutate_tiff(chance: random.Random, data: bytes) -> bytes:
    """Another list of tags at the file's end; its next list may be any, itself too."""
    order = "<" if data.startswith(b"II") else ">"
    tags, following = _tags(data, order)
    for _ in range(chance.choice((1, 1, 2, 4))):
        _change(chance, tags)
    place, body = len(data), data
    if chance.random() < 0.2:
        body = data[:8] + mutate_bytes(chance, data[8:], [data], ())[: len(data) - 8]
        body = body.ljust(place, b"\0")
    following = chance.choice((following, 0, 0, place, 8, 0xFFFFFFFF))
    packed = b"".join(struct.pack(f"{order}HHII", *tag) for tag in tags)
    count = len(tags) if chance.random() < 0.95 else chance.choice((0, 65_535))
    head = data[:4] + struct.pack(f"{order}I", place)
    listed = struct.pack(f"{order}H", count) + packed + struct.pack(f"{order}I", following)
    whole = head + body[8:] + listed
    return (whole if chance.random() < 0.9 else whole[: chance.randrange(len(whole))])[:LONGEST]


def _tags(data: bytes, order: str) -> tuple[list[list[int]], int]:
    """Each tag's number, type, count and value; and where the next list would be."""
    try:
        (place,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, place)
        found = [
            list(struct.unpack_from(f"{order}HHII", data, place + 2 + 12 * n)) for n in range(count)
        ]
        (following,) = struct.unpack_from(f"{order}I", data, place + 2 + 12 * count)
    except struct.error:
        return [], 0
    return found, int(following)


def _change(chance: random.Random, tags: list[list[int]]) -> None:
    number, kind, values = chance.choice(_TAGS)
    value = chance.choice(values)
    if kind == 3 and value < 65_536 and chance.random() < 0.5:
        value <<= 16  # As the other byte order would place it.
    count = chance.choice((1, 1, 1, 0, 3, 4, *ODD_NUMBERS[:9]))
    at = next((n for n, tag in enumerate(tags) if tag[0] == number), None)
    how = chance.random()
    if how < 0.1 and tags:
        del tags[chance.randrange(len(tags))]
    elif how < 0.2 and tags:
        one = chance.choice(tags)
        one[chance.randrange(1, 4)] = chance.choice((0, 1, 2, 5, 12, 13, 65_535))
    elif at is None or how < 0.3:
        tags.append([number, kind, count, value])
        tags.sort()
    elif how < 0.7:
        tags[at][3] = value
    else:
        tags[at][1:] = [kind, count, value]
