"""What a file is, by its first bytes; its name proves nothing."""

from __future__ import annotations

from typing import NamedTuple


class FileKind(NamedTuple):
    """``pillow`` names the decoder for images that are supported, else it is empty."""

    name: str
    pillow: str
    hint: str


_CONVERT = "Convert it to PNG or JPEG first."
_SUPPORTED_HINT = "Supported: PNG, JPEG, WebP, GIF, BMP, TIFF."

PDF = FileKind("a PDF document", "", "Analyse it as a document, page by page.")
# Readers accept a PDF whose header stands this far in, behind what a download left there.
_PDF_HEADER_WITHIN = 1024

_MAGIC: tuple[tuple[bytes, FileKind], ...] = (
    (b"\x89PNG\r\n\x1a\n", FileKind("PNG", "PNG", "")),
    (b"\xff\xd8\xff", FileKind("JPEG", "JPEG", "")),
    (b"GIF87a", FileKind("GIF", "GIF", "")),
    (b"GIF89a", FileKind("GIF", "GIF", "")),
    (b"BM", FileKind("BMP", "BMP", "")),
    (b"II*\x00", FileKind("TIFF", "TIFF", "")),
    (b"MM\x00*", FileKind("TIFF", "TIFF", "")),
    (b"II+\x00", FileKind("TIFF", "TIFF", "")),
    (b"MM\x00+", FileKind("TIFF", "TIFF", "")),
    (b"%PDF-", PDF),
    (b"8BPS", FileKind("a Photoshop document", "", _CONVERT)),
    (b"\x00\x00\x01\x00", FileKind("an icon (ICO)", "", _CONVERT)),
    (b"\xff\x0a", FileKind("a JPEG XL image", "", _CONVERT)),
    (b"\x00\x00\x00\x0cJXL ", FileKind("a JPEG XL image", "", _CONVERT)),
    (b"\x00\x00\x00\x0cjP  ", FileKind("a JPEG 2000 image", "", _CONVERT)),
    (b"PK\x03\x04", FileKind("a ZIP archive or Office document", "", _SUPPORTED_HINT)),
    (b"\x1f\x8b", FileKind("a gzip archive", "", "Unpack it first.")),
    (b"\x7fELF", FileKind("a program (ELF)", "", _SUPPORTED_HINT)),
    (b"MZ", FileKind("a program (Windows)", "", _SUPPORTED_HINT)),
    (b"GGUF", FileKind("a model file (GGUF)", "", "Name the model with --model.")),
    (b"\x1aE\xdf\xa3", FileKind("a Matroska or WebM video", "", "Extract a frame first.")),
)
_BRANDS: dict[bytes, FileKind] = {
    b"heic": FileKind("a HEIC image", "", _CONVERT),
    b"heix": FileKind("a HEIC image", "", _CONVERT),
    b"hevc": FileKind("a HEIC image", "", _CONVERT),
    b"hevx": FileKind("a HEIC image", "", _CONVERT),
    b"mif1": FileKind("a HEIF image", "", _CONVERT),
    b"msf1": FileKind("a HEIF image", "", _CONVERT),
    b"avif": FileKind("an AVIF image", "", _CONVERT),
    b"avis": FileKind("an AVIF image", "", _CONVERT),
}


def recognise_file(data: bytes) -> FileKind:
    """The kind of ``data``; unknown bytes are named by their hexadecimal start."""
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return FileKind("WebP", "WEBP", "")
    if data[4:8] == b"ftyp":
        return _iso_media(data)
    if b"%PDF-" in data[:_PDF_HEADER_WITHIN]:
        return PDF
    return _text(data) or FileKind(f"unknown bytes {data[:8].hex(' ')}", "", _SUPPORTED_HINT)


def _iso_media(data: bytes) -> FileKind:
    """By the major brand, or by the compatible ones where the major one is a family's."""
    size = min(int.from_bytes(data[:4], "big"), 256)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, size, 4))]
    if brands[0] in (b"mif1", b"msf1") and {b"avif", b"avis"} & set(brands):
        return _BRANDS[b"avif"]
    return _BRANDS.get(brands[0], FileKind("an MP4 video", "", "Extract a frame first."))


def _text(data: bytes) -> FileKind | None:
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n")
    lowered = start.lower()
    if lowered.startswith((b"<!doctype html", b"<html")):
        return FileKind("an HTML page", "", "Take a screenshot of it first.")
    if b"<svg" in lowered:
        return FileKind("an SVG drawing", "", "Render it to PNG first.")
    if lowered.startswith(b"<?xml"):
        return FileKind("an XML document", "", _SUPPORTED_HINT)
    if start and all(byte >= 0x20 or byte in b"\t\r\n\x0c" for byte in data[:512]):
        try:
            data[:508].decode("utf-8")
        except UnicodeDecodeError as error:
            if error.start < len(data[:508]) - 3:
                return None
        return FileKind("a text file", "", _SUPPORTED_HINT)
    return None
