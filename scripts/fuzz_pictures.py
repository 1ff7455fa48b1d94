"""Pictures changed in their parts: a PNG's chunks with right sums, a JPEG's segments, and so on.

Random bytes rarely get past a checksum or a length. Here a file is taken apart, something happens
to its parts, and it is put together again, so that what stands behind the first look is reached.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from fuzz_headers import mutate_bmp, mutate_tiff
from fuzz_mutations import LONGEST, ODD_NUMBERS, mutate_bytes

_ZEROS = zlib.compress(bytes(8 << 20), 9)
_SIDES = (0, 1, 2, 7, 255, 2000, 4000, 16383, 30_000, 65_535, 0x7FFFFFFF, 0xFFFFFFFF)
_MOST_PARTS = 400


@dataclass(frozen=True)
class Part:
    """A chunk, segment or block: its kind, what is in it, and what follows without a length."""

    kind: bytes
    body: bytes
    after: bytes = b""


def mutate_picture(
    chance: random.Random, data: bytes, others: Sequence[bytes], words: Sequence[bytes]
) -> bytes:
    """By its format, if it is one of those known; now and then by its bytes alone."""
    if chance.random() < 0.15:
        return mutate_bytes(chance, data, others, words)
    if data.startswith(b"BM"):
        return mutate_bmp(chance, data)
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return mutate_tiff(chance, data)
    for magic, split, join, hostile in _FORMATS:
        if data.startswith(magic):
            parts = list(split(data))
            alike = [one for one in others if one.startswith(magic)] or [data]
            foreign = list(split(chance.choice(alike)))
            for _ in range(chance.choice((1, 1, 2, 4))):
                _change(chance, parts, foreign, hostile)
            return join(chance, parts[:_MOST_PARTS])[:LONGEST]
    return mutate_bytes(chance, data, others, words)


def _change(
    chance: random.Random,
    parts: list[Part],
    foreign: list[Part],
    hostile: Callable[[random.Random], Part],
) -> None:
    if not parts or chance.random() < 0.35:
        parts.insert(chance.randrange(len(parts) + 1), hostile(chance))
        return
    at, how = chance.randrange(len(parts)), chance.random()
    one = parts[at]
    if how < 0.1:
        del parts[at]
    elif how < 0.2:
        parts[at:at] = [one] * chance.choice((1, 2, 10, 150))
    elif how < 0.3:
        other = chance.randrange(len(parts))
        parts[at], parts[other] = parts[other], one
    elif how < 0.4 and foreign:
        parts[at] = chance.choice(foreign)
    elif how < 0.5:
        parts[at] = replace(one, body=one.body[: chance.randrange(len(one.body) + 1)])
    elif how < 0.6:
        parts[at] = replace(one, body=_with_number(chance, one.body))
    elif how < 0.7 and one.after:
        parts[at] = replace(one, after=mutate_bytes(chance, one.after, [one.after], ()))
    elif how < 0.8:
        parts[at] = replace(one, body=_repacked(chance, one.body))
    else:
        parts[at] = replace(one, body=mutate_bytes(chance, one.body, [one.body], ()))


def _with_number(chance: random.Random, body: bytes) -> bytes:
    changed, size = bytearray(body or b"\0"), chance.choice((1, 2, 4))
    value = chance.choice((*ODD_NUMBERS, *_SIDES)) & ((1 << 8 * size) - 1)
    at = chance.randrange(min(len(changed), 32))
    changed[at : at + size] = value.to_bytes(size, chance.choice(("big", "little")))
    return bytes(changed)


def _repacked(chance: random.Random, body: bytes) -> bytes:
    """What is compressed inside, changed and compressed again; or far more than should be there."""
    try:
        plain = zlib.decompressobj().decompress(body, LONGEST)
    except zlib.error:
        return body
    if chance.random() < 0.2:
        return _ZEROS
    return zlib.compress(mutate_bytes(chance, plain, [plain], ()))


def exif(chance: random.Random) -> bytes:
    """A small TIFF with an orientation, or with what leads back to itself."""
    order, mark = chance.choice((("<", b"II*\0"), (">", b"MM\0*")))
    tags = [(0x0112, 3, 1, chance.choice((0, 1, 3, 6, 8, 9, 65_535)))]
    if chance.random() < 0.5:
        tags.append((0x8769, 4, 1, chance.choice((8, 0, 0xFFFFFFFF))))
    if chance.random() < 0.3:
        tags.append((chance.randrange(65_536), chance.randrange(14), *_two(chance)))
    listed = b"".join(struct.pack(f"{order}HHII", *tag) for tag in tags)
    following = chance.choice((0, 8, 0xFFFFFFFF))
    count = chance.choice((len(tags), len(tags), 65_535))
    return mark + struct.pack(f"{order}IH", 8, count) + listed + struct.pack(f"{order}I", following)


def _two(chance: random.Random) -> tuple[int, int]:
    first, second = (chance.choice(ODD_NUMBERS) & 0xFFFFFFFF for _ in range(2))
    return first, second


def _profile(chance: random.Random) -> bytes:
    """The head of a colour profile, with a size and spaces that need not be true."""
    size = chance.choice((128, 132, 0, 0xFFFFFFFF))
    space = chance.choice((b"RGB ", b"CMYK", b"GRAY", b"Lab ", b"XYZ ", b"ABCD", b"FCLR"))
    kind = chance.choice((b"mntr", b"prtr", b"link", b"nmcl", b"abst"))
    head = struct.pack(">I", size) + b"lcms\x04\x30\0\0" + kind + space + b"XYZ "
    rest = head.ljust(36, b"\0") + b"acsp" + bytes(88)
    tags = chance.choice((0, 1, 3, 0xFFFF, 0xFFFFFFFF))
    return rest + struct.pack(">I", tags) + chance.randbytes(36)


# PNG --------------------------------------------------------------------------------------------


def _split_png(data: bytes) -> Iterator[Part]:
    at = 8
    while at + 8 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        yield Part(data[at + 4 : at + 8], data[at + 8 : at + 8 + min(length, LONGEST)])
        at += 12 + length


def _join_png(chance: random.Random, parts: list[Part]) -> bytes:
    whole = bytearray(b"\x89PNG\r\n\x1a\n")
    for one in parts:
        length = len(one.body) if chance.random() < 0.99 else chance.choice(_SIDES)
        check = zlib.crc32(one.kind + one.body) ^ (chance.random() < 0.01)
        whole += struct.pack(">I", length) + one.kind + one.body + struct.pack(">I", check)
    return bytes(whole)


def _hostile_png(chance: random.Random) -> Part:
    side = chance.choice
    text = b"Comment\0\0" + (_ZEROS if chance.random() < 0.3 else zlib.compress(b"x"))
    frame = struct.pack(">IIIIIHHBB", 0, side(_SIDES), side(_SIDES), 0, 0, 1, 0, 3, 3)
    return side(
        (
            Part(b"IHDR", struct.pack(">IIBBBBB", *_png_head(chance))),
            Part(b"iCCP", b"p\0\0" + zlib.compress(_profile(chance))),
            Part(b"iCCP", b"p\0\0" + _ZEROS),
            Part(b"eXIf", exif(chance)),
            Part(b"zTXt", text),
            Part(b"iTXt", b"Comment\0\1\0\0\0" + text[9:]),
            Part(b"tEXt", b"x" * side((0, 1, 80, 20_000))),
            Part(b"tRNS", chance.randbytes(side((0, 1, 2, 6, 256, 300)))),
            Part(b"PLTE", chance.randbytes(side((0, 1, 3, 768, 771)))),
            Part(b"IDAT", _ZEROS),
            Part(b"IDAT", b""),
            Part(b"IEND", b""),
            Part(b"acTL", struct.pack(">II", side(_SIDES), 0)),
            Part(b"fcTL", frame),
            Part(b"fdAT", struct.pack(">I", side(_SIDES)) + zlib.compress(bytes(100))),
            Part(b"pHYs", struct.pack(">IIB", side(_SIDES), 0, 1)),
            Part(b"gAMA", struct.pack(">I", side(_SIDES))),
            Part(chance.randbytes(4), chance.randbytes(9)),
        )
    )


def _png_head(chance: random.Random) -> tuple[int, ...]:
    depth, colour = chance.choice((1, 2, 4, 8, 16, 0, 3, 32)), chance.choice((0, 2, 3, 4, 6, 1, 7))
    sides = chance.choice(_SIDES), chance.choice(_SIDES)
    return (*sides, depth, colour, 0, chance.choice((0, 0, 1)), chance.choice((0, 1, 1, 2)))


# JPEG -------------------------------------------------------------------------------------------


def _split_jpeg(data: bytes) -> Iterator[Part]:
    """Segments; with a scan comes what is coded after it."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        (length,) = struct.unpack(">H", data[at + 2 : at + 4])
        end = at + 2 + max(length, 2)
        following = end
        if data[at + 1] == 0xDA:
            following = next(
                (
                    place
                    for place in range(end, len(data) - 1)
                    if data[place] == 0xFF and data[place + 1] not in (0, *range(0xD0, 0xD8))
                ),
                len(data),
            )
        yield Part(data[at + 1 : at + 2], data[at + 4 : end], data[end:following])
        if data[following + 1 : following + 2] == b"\xd9":
            return
        at = following


def _join_jpeg(chance: random.Random, parts: list[Part]) -> bytes:
    whole = bytearray(b"\xff\xd8")
    for one in parts:
        body = one.body[:65_533]
        length = len(body) + 2 if chance.random() < 0.99 else chance.choice((0, 1, 2, 65_535))
        whole += b"\xff" + one.kind + struct.pack(">H", length) + body + one.after
    return bytes(whole + (b"\xff\xd9" if chance.random() < 0.95 else b""))


def _hostile_jpeg(chance: random.Random) -> Part:
    side = [value & 0xFFFF for value in (chance.choice(_SIDES), chance.choice(_SIDES))]
    count = chance.choice((0, 1, 2, 3, 4, 5))
    planes = b"".join(
        bytes((n + 1, chance.choice((0x11, 0x22, 0x41, 0x44, 0x14, 0, 0xFF)), n % 4))
        for n in range(count)
    )
    frame = struct.pack(">BHHB", chance.choice((8, 12, 16)), *side, count) + planes
    numbered = bytes((chance.choice((0, 1, 2, 255)), chance.choice((0, 1, 2, 255))))
    return chance.choice(
        (
            Part(bytes((chance.choice((0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA)),)), frame),
            Part(b"\xe1", b"Exif\0\0" + exif(chance)),
            Part(b"\xe2", b"ICC_PROFILE\0" + numbered + _profile(chance)),
            Part(b"\xe2", b"MPF\0" + exif(chance)),
            Part(b"\xee", b"Adobe\0\x64\0\0\0\0" + chance.choice((b"\0", b"\1", b"\2", b"\xff"))),
            Part(b"\xed", b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0" + chance.randbytes(9)),
            Part(b"\xdd", struct.pack(">H", chance.choice((0, 1, 8, 65_535)))),
            Part(b"\xdc", struct.pack(">H", side[0])),
            Part(b"\xc4", chance.randbytes(17) + chance.randbytes(chance.choice((0, 12, 300)))),
            Part(b"\xdb", chance.choice((b"\0", b"\1", b"\x10")) + chance.randbytes(64)),
            Part(b"\xda", b"\1\1\0\0\x3f\0", chance.randbytes(chance.choice((0, 40)))),
            Part(b"\xda", b"\1\1\0\1\5\x01", chance.randbytes(4)),
            Part(b"\xfe", b"x" * chance.choice((0, 9, 9_000))),
        )
    )


# GIF --------------------------------------------------------------------------------------------


def _split_gif(data: bytes) -> Iterator[Part]:
    head = 13 + (3 << (data[10] & 7) + 1 if len(data) > 10 and data[10] & 0x80 else 0)
    yield Part(b"", data[:head])
    at = head
    while at < len(data):
        kind, start = data[at : at + 1], at
        if kind == b"!":
            at += 2
        elif kind == b",":
            flags = data[at + 9] if at + 9 < len(data) else 0
            at += 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        else:
            return
        while at < len(data) and data[at]:
            at += data[at] + 1
        at += 1
        yield Part(kind, data[start:at])


def _join_gif(chance: random.Random, parts: list[Part]) -> bytes:
    end = b";" if chance.random() < 0.95 else b""
    return b"".join(one.body for one in parts) + end


def _hostile_gif(chance: random.Random) -> Part:
    size = [chance.choice(_SIDES) & 0xFFFF for _ in range(4)]
    flags, code = chance.choice((0, 0x40, 0x80, 0x87, 0xFF)), chance.choice((0, 1, 2, 8, 12, 255))
    table = chance.randbytes(3 << (flags & 7) + 1) if flags & 0x80 else b""
    coded = chance.randbytes(chance.choice((0, 5, 200)))
    block = bytes((len(coded),)) + coded if coded else b""
    picture = b"," + struct.pack("<4HB", *size, flags) + table + bytes((code,)) + block + b"\0"
    control = bytes((chance.choice((0, 1, 4, 8, 12, 0xFF)), 0, 0, chance.choice((0, 255))))
    return chance.choice(
        (
            Part(b",", picture),
            Part(b"!", b"!\xf9\4" + control + b"\0"),
            Part(b"!", b"!\xff\x0bNETSCAPE2.0\3\1\xff\xff\0"),
            Part(b"!", b"!\xfe" + (b"\xff" + b"x" * 255) * chance.choice((1, 20)) + b"\0"),
            Part(b"!", b"!\1\x0c" + bytes(12) + b"\0"),
            Part(b"", b"GIF89a" + struct.pack("<HHBBB", size[0], size[1], flags, 255, 0) + table),
        )
    )


# WebP -------------------------------------------------------------------------------------------


def _split_riff(data: bytes) -> Iterator[Part]:
    at = 12
    while at + 8 <= len(data):
        (length,) = struct.unpack("<I", data[at + 4 : at + 8])
        yield Part(data[at : at + 4], data[at + 8 : at + 8 + min(length, LONGEST)])
        at += 8 + length + length % 2


def _chunk(one: Part) -> bytes:
    return one.kind + struct.pack("<I", len(one.body)) + one.body + bytes(len(one.body) % 2)


def _join_riff(chance: random.Random, parts: list[Part]) -> bytes:
    whole = b"WEBP" + b"".join(map(_chunk, parts))
    length = len(whole) if chance.random() < 0.95 else chance.choice(_SIDES)
    return b"RIFF" + struct.pack("<I", length) + whole


def _hostile_riff(chance: random.Random) -> Part:
    wide, high = (chance.choice(_SIDES) & 0xFFFFFF for _ in range(2))
    canvas = wide.to_bytes(3, "little") + high.to_bytes(3, "little")
    flags = bytes((chance.choice((0, 2, 0x10, 0x12, 0x20, 0x3E, 0xFF)), 0, 0, 0))
    lossless = struct.pack("<I", (wide & 0x3FFF) | (high & 0x3FFF) << 14 | 1 << 28)
    lossy = b"\x30\1\0\x9d\1\x2a" + struct.pack("<HH", wide & 0xFFFF, high & 0xFFFF)
    inner = Part(b"VP8L", b"/" + lossless + chance.randbytes(30))
    frame = canvas + canvas + bytes(3) + chance.choice((b"\0", b"\3")) + _chunk(inner)
    return chance.choice(
        (
            Part(b"VP8X", flags + canvas),
            Part(b"ANIM", struct.pack("<IH", 0xFFFFFFFF, chance.choice((0, 65_535)))),
            Part(b"ANMF", frame),
            Part(b"ANMF", frame[: chance.randrange(len(frame))]),
            Part(b"ALPH", chance.choice((b"\0", b"\1", b"\x1f")) + chance.randbytes(20)),
            Part(b"ICCP", _profile(chance)),
            Part(b"EXIF", chance.choice((b"", b"Exif\0\0")) + exif(chance)),
            Part(b"XMP ", b"<x:xmpmeta" + b"<a>" * chance.choice((1, 3000))),
            inner,
            Part(b"VP8 ", lossy + chance.randbytes(30)),
        )
    )


_FORMATS: tuple[
    tuple[
        bytes,
        Callable[[bytes], Iterator[Part]],
        Callable[[random.Random, list[Part]], bytes],
        Callable[[random.Random], Part],
    ],
    ...,
] = (
    (b"\x89PNG\r\n\x1a\n", _split_png, _join_png, _hostile_png),
    (b"\xff\xd8", _split_jpeg, _join_jpeg, _hostile_jpeg),
    (b"GIF8", _split_gif, _join_gif, _hostile_gif),
    (b"RIFF", _split_riff, _join_riff, _hostile_riff),
)
