"""Secrets inside wheels, zips in zips, tars, bundles and binaries; bombs are refused."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import lzma
import marshal
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted_secrets import drawn, planted

from shimmy_ops.adapters.scanning.archive_members import ArchiveMembers, Bounds
from shimmy_ops.domain.secrets.findings import Finding, Origin
from shimmy_ops.ports.scanning import Piece, Unread
from shimmy_ops.use_cases.scan_secrets import scan_secrets

SMALL = Bounds(members=50, member_bytes=1 << 20, total_bytes=2 << 20, ratio_from=1 << 18)
KEY = "sk_" + "live_51H" + drawn("archives", 96)
PLANTED = planted()


class OnePiece:
    """A source of one file."""

    def __init__(self, name: str, content: bytes) -> None:
        self._piece = Piece(Origin(name), content)

    def pieces(self) -> Iterator[Piece]:
        """The file."""
        yield self._piece


def scanned(content: bytes, bounds: Bounds | None = None) -> tuple[Finding, ...]:
    """The findings in one file of this content."""
    source = OnePiece("file", content)
    return scan_secrets([source], ArchiveMembers(bounds), lambda *_: None).findings


def zipped(members: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()


def tarred(members: dict[str, bytes], mode: str = "w:gz") -> bytes:
    """A tar."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return target.getvalue()


def frozen(content: bytes) -> bytes:
    """As PyInstaller freezes a program: machine code, then modules, each a zlib stream."""
    module = marshal.dumps(compile(f"KEY = {content.decode()!r}", "secret.py", "exec"))
    streams = [zlib.compress(b"import os\n" * 40, 9), zlib.compress(module, 9)]
    code = b"\x7fELF\x02\x01\x01\x00" + bytes(range(256)) * 64
    return code + b"\x00PYZ\x00" + b"".join(streams) + b"MEI\x0c\x0b\x0a\x0b\x0e" + bytes(64)


def bundled(content: bytes) -> bytes:
    """A minified bundle: one line of some hundred thousand characters."""
    filler = ";".join(f"var a{n}=function(t,e){{return t[{n}]+e}}" for n in range(9000))
    return f'{filler};var k="{content.decode()}";{filler}'.encode()


WAYS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda c: b"text before\n" + c,
    "wheel": lambda c: zipped({"shimmy/__init__.py": b"", "shimmy/keys.py": b"KEY = '" + c + b"'"}),
    "stored zip": lambda c: zipped({"a.txt": c}, zipfile.ZIP_STORED),
    "zip in a zip": lambda c: zipped({"outer/inner.zip": zipped({"a/b.txt": c})}),
    "bzip2 zip": lambda c: zipped({"a.txt": c}, zipfile.ZIP_BZIP2),
    "tar.gz": lambda c: tarred({"shimmy-0.1/src/keys.py": c}),
    "tar": lambda c: tarred({"a.txt": c}, "w:"),
    "tar.bz2": lambda c: tarred({"a.txt": c}, "w:bz2"),
    "tar.xz": lambda c: tarred({"a.txt": c}, "w:xz"),
    "tar.gz in a wheel": lambda c: zipped({"data.tar.gz": tarred({"a.txt": c})}),
    "gzip": lambda c: gzip.compress(c),
    "two gzip members": lambda c: gzip.compress(b"nothing") + gzip.compress(c),
    "bzip2": lambda c: bz2.compress(c),
    "xz": lambda c: lzma.compress(c),
    "minified bundle": bundled,
    "frozen program": frozen,
    "gzip in a binary": lambda c: b"\x00\x01\x02\x03" * 99 + gzip.compress(c) + b"\x00\xff" * 50,
    "program with a zip behind": lambda c: b"\x7fELF\x00\x01" * 99 + zipped({"a.txt": c}),
    "before a zip": lambda c: b"#!/usr/bin/python3 " + c + b"\n" + zipped({"__main__.py": b"1"}),
    "zip comment": lambda c: _commented(c),
    "utf-16 with mark": lambda c: c.decode().encode("utf-16"),
    "utf-16 without mark": lambda c: c.decode().encode("utf-16-be"),
    "utf-16 in a binary": lambda c: b"\x7fELF\x00\x80" * 999 + c.decode().encode("utf-16-le"),
    "utf-8 with mark": lambda c: b"\xef\xbb\xbf" + c,
    "base64": lambda c: b"token: " + base64.b64encode(b"key=" + c),
    "base64 for URLs": lambda c: base64.urlsafe_b64encode(b"\xff\xfe" + c).rstrip(b"="),
    "latin-1": lambda c: "Schlüssel: ".encode("latin-1") + c,
    "broken-off stream": lambda c: b"\x00\x01" + zlib.compress(c + drawn("x", 5000).encode())[:-99],
    "tar link": lambda c: _linked(c),
}  # fmt: skip


def _commented(content: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a", "b")
        archive.comment = content
    return target.getvalue()


def _linked(content: bytes) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.SYMTYPE, content.decode()
        archive.addfile(info)
    return target.getvalue()


@pytest.mark.parametrize("way", WAYS)
def test_a_key_is_found_wherever_it_hides(way: str) -> None:
    findings = scanned(WAYS[way](KEY.encode()))
    assert "stripe-live-key" in {finding.kind for finding in findings}, way
    assert KEY not in "".join(map(str, findings))


@pytest.mark.parametrize(
    "way", ["wheel", "zip in a zip", "tar.gz", "frozen program", "utf-16 with mark"]
)
@pytest.mark.parametrize(("kind", "text", "value"), PLANTED, ids=[kind for kind, *_ in PLANTED])
def test_every_kind_is_found_in_packed_files(way: str, kind: str, text: str, value: str) -> None:
    # The wheel's module has the value between quotes, which the text may hold itself.
    pack = WAYS[way] if way != "wheel" else lambda content: zipped({"a/b.txt": content})
    content = pack(text.encode())
    assert kind in {finding.kind for finding in scanned(content)}


def test_a_place_names_every_member_on_the_way() -> None:
    (finding,) = scanned(zipped({"in.zip": zipped({"a/b.txt": b"x\n" + KEY.encode()})}))
    assert str(finding.origin) == "file!in.zip!a/b.txt"
    assert str(finding.spot) == "2:1"


def test_a_stored_member_is_told_once() -> None:
    (finding,) = scanned(WAYS["stored zip"](KEY.encode()))
    assert finding.origin.members == ("a.txt",)


def test_a_name_that_is_a_key_is_found_and_not_printed() -> None:
    (finding,) = scanned(zipped({f"{KEY}.txt": b"nothing"}))
    assert finding.kind == "stripe-live-key"
    assert KEY not in repr(finding)


def _whys(findings: tuple[Finding, ...]) -> str:
    assert {finding.kind for finding in findings} == {"not-scanned"}
    return " ".join(finding.shown for finding in findings)


def test_bombs_are_refused() -> None:
    zeros = bytes(8 << 20)
    assert "bomb" in _whys(scanned(zipped({"a": zeros}), SMALL))
    assert "bomb" in _whys(scanned(gzip.compress(zeros), SMALL))
    assert "bomb" in _whys(scanned(lzma.compress(zeros), SMALL))
    assert "bomb" in _whys(scanned(b"\x00\x01" + zlib.compress(zeros), SMALL))
    rest = b"".join(struct.pack(">Q", n * 2654435761 % 2**64) for n in range(1 << 17))
    many = zipped({str(n): rest for n in range(4)})
    assert "MiB" in _whys(scanned(many, SMALL))
    assert "more than 50 members" in _whys(scanned(zipped({str(n): b"" for n in range(60)}), SMALL))
    nested = b"nothing"
    for _ in range(9):
        nested = zipped({"a.zip": nested})
    assert "6 deep" in _whys(scanned(nested))


def test_bombs_take_no_memory() -> None:
    import tracemalloc

    bomb = gzip.compress(bytes(300 << 20))
    tracemalloc.start()
    findings = scanned(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "bomb" in _whys(findings)
    assert peak < 100 << 20


def test_what_cannot_be_opened_is_told() -> None:
    whole = zipped({"a.txt": KEY.encode() * 9, "b.txt": b"b" * 99})
    assert "none" in _whys(scanned(whole[:-30]))
    assert "cannot be unpacked" in _whys(scanned(gzip.compress(b"a" * 999)[:-9]))
    locked = bytearray(zipped({"a.txt": b"a"}))
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    assert "encrypted" in _whys(scanned(bytes(locked)))
    assert "7z" in _whys(scanned(b"7z\xbc\xaf\x27\x1c" + bytes(99)))


def test_one_bad_member_hides_no_other() -> None:
    content = bytearray(zipped({"a.txt": b"a" * 99, "b.txt": KEY.encode()}, zipfile.ZIP_STORED))
    content[content.index(b"aaaa")] = ord("b")
    kinds = {finding.kind for finding in scanned(bytes(content))}
    assert kinds == {"not-scanned", "stripe-live-key"}


@given(st.binary(max_size=300), st.sampled_from(sorted(WAYS)), st.integers(0, 2000))
def test_damage_ends_no_scan(noise: bytes, way: str, place: int) -> None:
    content = WAYS[way](KEY.encode())
    if len(content) < 20_000:
        place %= len(content)
        scanned(content[:place] + noise + content[place + len(noise) :], SMALL)


def test_pictures_are_no_bombs_and_no_findings() -> None:
    pixels = zlib.compress(bytes(20 << 20))
    chunk = struct.pack(">I", len(pixels)) + b"IDAT" + pixels + bytes(4)
    assert scanned(b"\x89PNG\r\n\x1a\n\x00\x00" + chunk) == ()
    url = b"background:url(data:image/png;base64," + base64.b64encode(chunk) + b")"
    assert scanned(url) == ()


def test_unread_pieces_are_findings() -> None:
    class Locked:
        def pieces(self) -> Iterator[Unread]:
            yield Unread(Origin("a"), "it cannot be read")

    scan = scan_secrets([Locked()], ArchiveMembers(), lambda *_: None)
    assert [finding.kind for finding in scan.findings] == ["not-scanned"]
