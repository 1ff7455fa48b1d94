"""Looks into zips, tars, compressed files and whatever zlib streams a binary holds, within bounds.

A declared size is never believed: bytes are counted as they come out, and what would not end is
named as unread instead of being called clean.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NoReturn, Protocol

from shimmy_ops.domain.secrets.findings import Origin
from shimmy_ops.domain.secrets.readings import is_text
from shimmy_ops.errors import ScanError
from shimmy_ops.ports.scanning import Piece, Unread

_STEP = 1 << 20
_STREAM_HEADER = re.compile(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08")
_ANY_WRAPPING = zlib.MAX_WBITS | 32  # zlib's header or gzip's
# A picture's pixels: large, and no text.
_PIXELS = b"IDAT"
_LEAST_STREAM = 16
_PROBE = 64
_UNKNOWN = {
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "rar",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_FOREIGN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, OSError, EOFError)
_ODD = (RuntimeError, ValueError, KeyError, IndexError, MemoryError)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a scan goes into one file."""

    depth: int = 6
    members: int = 20_000
    member_bytes: int = 128 << 20
    total_bytes: int = 512 << 20
    ratio: int = 250
    ratio_from: int = 16 << 20


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


_OPENERS: dict[str, Callable[[io.BytesIO], AbstractContextManager[_Readable]]] = {
    "gzip": lambda source: gzip.GzipFile(fileobj=source),
    "bzip2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
}


@dataclass(slots=True)
class _Budget:
    bounds: Bounds
    members: int = 0
    total: int = 0

    def member(self) -> None:
        """One more member is looked into."""
        self.members += 1
        if self.members > self.bounds.members:
            self._refuse(f"it holds more than {self.bounds.members} members")

    def grown(self, made: int, step: int, packed: int) -> None:
        """After ``step`` more bytes came out of a member that has given ``made``."""
        bounds = self.bounds
        self.total += step
        if made > bounds.ratio_from and made > packed * bounds.ratio:
            self._refuse(f"it grows more than {bounds.ratio} times: a bomb")
        if made > bounds.member_bytes:
            self._refuse(f"it unpacks to more than {bounds.member_bytes >> 20} MiB")
        if self.total > bounds.total_bytes:
            self._refuse(f"all it holds is more than {bounds.total_bytes >> 20} MiB")

    def _refuse(self, why: str) -> NoReturn:
        raise ScanError("archive-out-of-bounds", why)


class ArchiveMembers:
    """The unpacker."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._bounds = bounds or Bounds()

    def unpack(self, piece: Piece) -> Iterator[Piece | Unread]:
        """Everything inside, depth first; each file has its own budget."""
        yield from self._inside(piece, _Budget(self._bounds), 1)

    def _inside(self, piece: Piece, budget: _Budget, depth: int) -> Iterator[Piece | Unread]:
        members = _members(piece, budget)
        if members is None:
            return
        if depth > self._bounds.depth:
            yield Unread(piece.origin, f"archives lie more than {self._bounds.depth} deep")
            return
        try:
            for member in members:
                yield member
                if isinstance(member, Piece):
                    yield from self._inside(member, budget, depth + 1)
        except ScanError as error:
            yield Unread(piece.origin, error.message)
        except (*_FOREIGN, *_ODD) as error:
            yield Unread(piece.origin, f"it cannot be unpacked ({type(error).__name__})")


def _members(piece: Piece, budget: _Budget) -> Iterator[Piece | Unread] | None:
    content = piece.content
    for magic, name in _UNKNOWN.items():
        if content.startswith(magic):
            return iter([Unread(piece.origin, f"{name} archives cannot be looked into")])
    if content.startswith(b"\x1f\x8b\x08"):
        return _stream(piece, budget, "gzip")
    if content.startswith(b"BZh") and content[4:10] == b"1AY&SY":
        return _stream(piece, budget, "bzip2")
    if content.startswith(b"\xfd7zXZ\x00"):
        return _stream(piece, budget, "xz")
    if content[257:262] == b"ustar":
        return _tar(piece, budget)
    if b"PK\x05\x06" in content[-66_000:] and zipfile.is_zipfile(io.BytesIO(content)):
        return _zip(piece, budget)
    if content.startswith(b"PK\x03\x04"):
        return iter([Unread(piece.origin, "it begins like a zip, but is none")])
    return None if is_text(content) else _streams(piece, budget)


def _zip(piece: Piece, budget: _Budget) -> Iterator[Piece | Unread]:
    with zipfile.ZipFile(io.BytesIO(piece.content)) as archive:
        if archive.comment:
            yield Piece(piece.origin.inside("(comment)"), archive.comment)
        for info in archive.infolist():
            if info.is_dir():
                continue
            budget.member()
            origin = piece.origin.inside(info.filename)
            if info.flag_bits & 1:
                yield Unread(origin, "it is encrypted")
                continue
            try:
                with archive.open(info) as stream:
                    content = _read(stream, budget, max(info.compress_size, 1))
            except (*_FOREIGN, *_ODD) as error:
                yield Unread(origin, f"it cannot be unpacked ({type(error).__name__})")
                continue
            yield Piece(origin, content)
    # A program may stand before the first member, as in an executable with an archive behind it.
    if not piece.content.startswith(b"PK"):
        yield from _streams(piece, budget)


def _tar(piece: Piece, budget: _Budget) -> Iterator[Piece | Unread]:
    with tarfile.open(fileobj=io.BytesIO(piece.content), mode="r:") as archive:
        for info in archive:
            budget.member()
            if info.issym() or info.islnk():
                yield Piece(piece.origin.inside(info.name), info.linkname.encode(errors="replace"))
            stream = archive.extractfile(info) if info.isfile() else None
            if stream is not None:
                content = _read(stream, budget, len(piece.content))
                yield Piece(piece.origin.inside(info.name), content)


def _read(stream: _Readable, budget: _Budget, packed: int) -> bytes:
    parts, made = [], 0
    while step := stream.read(_STEP):
        made += len(step)
        budget.grown(made, len(step), packed)
        parts.append(step)
    return b"".join(parts)


def _stream(piece: Piece, budget: _Budget, kind: str) -> Iterator[Piece | Unread]:
    """A compressed file, of several streams where tools wrote several."""
    budget.member()
    source = io.BytesIO(piece.content)
    with _OPENERS[kind](source) as opened:
        content = _read(opened, budget, len(piece.content))
    yield Piece(piece.origin.inside(f"({kind})"), content)


def _streams(piece: Piece, budget: _Budget) -> Iterator[Piece | Unread]:
    """The zlib streams in a binary, wherever they begin: a frozen program keeps its modules so."""
    content, position = memoryview(piece.content), 0
    while found := _STREAM_HEADER.search(content, position):
        start = found.start()
        position = start + 2
        if content[max(0, start - 4) : start] == _PIXELS or not _begins(content[start:]):
            continue
        budget.member()
        inflated, used = _inflate(content[start:], budget)
        if len(inflated) >= _LEAST_STREAM:
            yield Piece(_at(piece.origin, start), inflated)
            position = start + max(used, 2)


def _begins(content: memoryview) -> bool:
    """A header is two bytes and occurs by chance; what follows must be a stream as well."""
    try:
        made = zlib.decompressobj(_ANY_WRAPPING).decompress(content[:4096], _PROBE)
    except zlib.error:
        return False
    return len(made) >= _LEAST_STREAM


def _inflate(content: memoryview, budget: _Budget) -> tuple[bytes, int]:
    """What comes out, also of a stream that breaks off, and how many bytes it took."""
    machine, parts, made, fed = zlib.decompressobj(_ANY_WRAPPING), [], 0, 0
    try:
        while not machine.eof:
            given = content[fed : fed + _STEP]
            step = machine.decompress(given, _STEP)
            if not given and not step:
                break
            made += len(step)
            fed += len(given) - len(machine.unconsumed_tail) - len(machine.unused_data)
            budget.grown(made, len(step), len(content))
            parts.append(step)
    except zlib.error:
        fed = 0
    return b"".join(parts), fed


def _at(origin: Origin, start: int) -> Origin:
    return origin.inside(f"(zlib at {start})")
