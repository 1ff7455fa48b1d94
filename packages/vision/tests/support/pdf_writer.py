"""A tiny PDF writer: what tests need, true or hostile, without a binary file in the repository."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

A4 = (595.0, 842.0)
_PADDING = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")


@dataclass(frozen=True)
class Words:
    """Text at (``x``, ``y``) points from the lower left; ``mode`` 3 is invisible."""

    text: str
    x: float
    y: float
    size: float = 12
    font: str = "F1"
    matrix: tuple[float, float, float, float] = (1, 0, 0, 1)
    mode: int = 0

    def drawn(self) -> bytes:
        a, b, c, d = self.matrix
        shown = self.text.encode("cp1252").hex()
        return (
            f"BT {self.mode} Tr /{self.font} {self.size} Tf "
            f"{a} {b} {c} {d} {self.x} {self.y} Tm <{shown}> Tj ET\n"
        ).encode()


@dataclass(frozen=True)
class Page:
    """One page; ``image`` is (width, height, RGB bytes) drawn over the whole page."""

    words: Sequence[Words] = ()
    size: tuple[float, float] = A4
    rotate: int = 0
    drawing: bytes = b""
    image: tuple[int, int, bytes] | None = None
    media_box: str | None = None
    crop_box: str | None = None


@dataclass
class PdfWriter:
    """Objects numbered from 1: catalog, page tree, fonts, then what pages need."""

    objects: dict[int, bytes] = field(default_factory=dict)
    # /Encrypt, and the file's key with it: RC4 of 40 bits, revision 2.
    key: bytes = b""

    def add(self, body: bytes, number: int | None = None) -> int:
        number = number or max(self.objects, default=0) + 1
        self.objects[number] = body
        return number

    def add_stream(self, data: bytes, entries: str = "", *, compress: bool = True) -> int:
        number = max(self.objects, default=0) + 1
        if compress:
            data, entries = zlib.compress(data), f"{entries} /Filter /FlateDecode"
        if self.key:
            salted = self.key + number.to_bytes(3, "little") + b"\0\0"
            data = rc4(hashlib.md5(salted).digest()[:10], data)  # noqa: S324 - what PDF 1.3 asks for
        head = f"<< /Length {len(data)} {entries} >>\nstream\n".encode()
        return self.add(head + data + b"\nendstream", number)

    def finish(self, trailer: str = "") -> bytes:
        out = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
        places = {}
        for number, body in sorted(self.objects.items()):
            places[number] = len(out)
            out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
        start, size = len(out), max(self.objects) + 1
        out += f"xref\n0 {size}\n0000000000 65535 f \n".encode()
        for number in range(1, size):
            at = places.get(number)
            out += b"0000000000 00000 f \n" if at is None else f"{at:010} 00000 n \n".encode()
        out += f"trailer\n<< /Size {size} /Root 1 0 R {trailer} >>\n".encode()
        return bytes(out + f"startxref\n{start}\n%%EOF\n".encode())


def write_pdf(
    *pages: Page, password: str | None = None, fonts: str | None = None, count: int | None = None
) -> bytes:
    """A document of ``pages``; a ``password`` locks it, and ``count`` lies about their number.

    ``fonts`` replaces the dictionary in which /F1 is Helvetica.
    """
    writer, trailer = PdfWriter(), ""
    if password is not None:
        writer.key, trailer = _locked(password)
    writer.add(b"<< /Type /Catalog /Pages 2 0 R >>", 1)
    writer.add(b"", 2)
    helvetica = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
    shared = writer.add(f"<< {fonts or f'/F1 {helvetica}'} >>".encode())
    kids = [_add_page(writer, page, shared) for page in pages]
    listed = " ".join(f"{kid} 0 R" for kid in kids)
    total = len(kids) if count is None else count
    writer.add(f"<< /Type /Pages /Kids [{listed}] /Count {total} >>".encode(), 2)
    return writer.finish(trailer)


def text_page(*lines: str, top: float = 780, pitch: float = 20, size: float = 12) -> Page:
    """A page of lines from the top."""
    placed = [Words(line, 72, top - pitch * n, size) for n, line in enumerate(lines)]
    return Page(placed)


def _add_page(writer: PdfWriter, page: Page, fonts: int) -> int:
    content = page.drawing + b"".join(words.drawn() for words in page.words)
    resources = f"/Font {fonts} 0 R"
    if page.image is not None:
        width, height, pixels = page.image
        number = writer.add_stream(
            pixels,
            f"/Type /XObject /Subtype /Image /Width {width} /Height {height} "
            "/ColorSpace /DeviceRGB /BitsPerComponent 8",
        )
        resources += f" /XObject << /Im {number} 0 R >>"
        content = f"q {page.size[0]} 0 0 {page.size[1]} 0 0 cm /Im Do Q\n".encode() + content
    drawn = writer.add_stream(content)
    box = page.media_box or f"[0 0 {page.size[0]} {page.size[1]}]"
    crop = f"/CropBox {page.crop_box}" if page.crop_box else ""
    return writer.add(
        f"<< /Type /Page /Parent 2 0 R /MediaBox {box} {crop} /Rotate {page.rotate} "
        f"/Resources << {resources} >> /Contents {drawn} 0 R >>".encode()
    )


def _locked(password: str) -> tuple[bytes, str]:
    """The key of a file that ``password`` opens, and its trailer's entries (revision 2)."""
    padded = (password.encode("latin-1") + _PADDING)[:32]
    owner = rc4(hashlib.md5(padded).digest()[:5], padded)  # noqa: S324
    name, rights = bytes(16), (-4).to_bytes(4, "little", signed=True)
    key = hashlib.md5(padded + owner + rights + name).digest()[:5]  # noqa: S324
    user = rc4(key, _PADDING)
    entries = (
        f"/Encrypt << /Filter /Standard /V 1 /R 2 /O <{owner.hex()}> /U <{user.hex()}> /P -4 >> "
        f"/ID [<{name.hex()}> <{name.hex()}>]"
    )
    return key, entries


def rc4(key: bytes, data: bytes) -> bytes:
    """The stream cipher of old PDFs."""
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    out, i, j = bytearray(), 0, 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)
