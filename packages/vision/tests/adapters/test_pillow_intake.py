"""Six formats become upright, opaque, 8-bit sRGB; everything else is refused in words."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from shimmy_vision.adapters.pillow_intake import PillowIntake
from shimmy_vision.errors import ImageError
from shimmy_vision.ports.image_intake import DecodedImage, IntakeLimits

INTAKE, LIMITS = PillowIntake(), IntakeLimits()
COLOUR = (51, 102, 153)


def _file(image: Image.Image, format_: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def _decode(data: bytes, limits: IntakeLimits = LIMITS) -> DecodedImage:
    return INTAKE.decode(data, limits)


def _plain(size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.new("RGB", size, COLOUR)


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_format_is_read(format_: str) -> None:
    decoded = _decode(_file(_plain(), format_))
    assert decoded.pixels.shape == (30, 40, 3)
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.flags.c_contiguous
    assert np.abs(decoded.pixels[5, 5].astype(int) - COLOUR).max() <= 2
    assert (decoded.info.width, decoded.info.height) == (40, 30)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    image = Image.new("RGB", (48, 32), "white")
    image.paste((200, 0, 0), (0, 0, 16, 16))  # marks one corner
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = _decode(_file(image, "PNG", exif=exif))
    corners = [(0, 0), (0, -1), (-1, -1), (-1, 0), (0, 0), (0, -1), (-1, -1), (-1, 0)]
    assert tuple(decoded.pixels[corners[orientation - 1]]) == (200, 0, 0)
    assert decoded.pixels.shape == ((48, 32, 3) if orientation >= 5 else (32, 48, 3))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("RGBA", (8, 8), (255, 0, 0, 128)), (255, 127, 127)),
        (Image.new("RGBA", (8, 8), (0, 0, 0, 0)), (255, 255, 255)),
        (Image.new("LA", (8, 8), (0, 128)), (127, 127, 127)),
    ],
)
def test_transparency_is_laid_on_white(image: Image.Image, expected: tuple[int, int, int]) -> None:
    decoded = _decode(_file(image, "PNG"))
    assert np.abs(decoded.pixels[0, 0].astype(int) - expected).max() <= 1
    assert "transparency laid on white" in decoded.info.notes


def test_palette_transparency_is_laid_on_white() -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 9, 9, 9])
    assert tuple(_decode(_file(image, "PNG", transparency=1)).pixels[0, 0]) == (255, 255, 255)
    assert tuple(_decode(_file(image, "GIF", transparency=1)).pixels[0, 0]) == (255, 255, 255)


@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled(format_: str) -> None:
    image = Image.fromarray(np.full((5, 5), 40_000, dtype=np.uint16))
    assert tuple(_decode(_file(image, format_)).pixels[0, 0]) == (156, 156, 156)


def test_sixteen_bit_colour_is_read() -> None:
    row = b"\0" + struct.pack(">HHH", 65_535, 32_768, 0) * 4

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", 4, 1, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    pixel = _decode(b"\x89PNG\r\n\x1a\n" + body).pixels[0, 0].astype(int)
    assert np.abs(pixel - (255, 128, 0)).max() <= 1


def test_floats_are_scaled() -> None:
    image = Image.fromarray(np.full((5, 5), 0.5, dtype=np.float32))
    assert tuple(_decode(_file(image, "TIFF")).pixels[0, 0]) == (128, 128, 128)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LAB"])
def test_other_colour_models_become_rgb(mode: str) -> None:
    image = (
        ImageCms.applyTransform(_plain(), _to_lab()) if mode == "LAB" else _plain().convert(mode)
    )
    assert image is not None
    decoded = _decode(_file(image, "TIFF"))
    assert decoded.pixels.shape == (30, 40, 3)
    if mode in ("P", "CMYK", "YCbCr"):
        assert np.abs(decoded.pixels[0, 0].astype(int) - COLOUR).max() <= 30


def _to_lab() -> Any:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.buildTransform(srgb, lab, "RGB", "LAB")


def test_cmyk_jpegs_keep_their_colours() -> None:
    decoded = _decode(_file(_plain().convert("CMYK"), "JPEG", quality=95))
    assert np.abs(decoded.pixels[0, 0].astype(int) - COLOUR).max() <= 3


def test_colour_profiles_are_applied_and_broken_ones_ignored() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    good = _decode(_file(_plain(), "PNG", icc_profile=profile))
    assert "colour profile applied" in good.info.notes
    assert np.abs(good.pixels[0, 0].astype(int) - COLOUR).max() <= 1
    bad = _decode(_file(_plain(), "PNG", icc_profile=b"not a profile"))
    assert "colour profile unusable, ignored" in bad.info.notes


def test_the_first_frame_of_an_animation_is_read() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("#ff0000", "#00ff00", "#0000ff")]
    data = _file(frames[0], "GIF", save_all=True, append_images=frames[1:], loop=0)
    decoded = _decode(data)
    assert tuple(decoded.pixels[0, 0]) == (255, 0, 0)
    assert decoded.info.notes == ("first of 3 frames",)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "image-empty"),
        (b"%PDF-1.4", "image-unsupported"),
        (b"just words", "image-unsupported"),
        (b"\x89PNG\r\n\x1a\n", "image-corrupt"),
        (b"BM" + b"\xff" * 60, "image-corrupt"),
        (_file(_plain((400, 300)), "PNG")[:-60], "image-truncated"),
        (_file(_plain((400, 300)), "JPEG")[:900], "image-truncated"),
    ],
)
def test_broken_files_are_refused(data: bytes, code: str) -> None:
    with pytest.raises(ImageError) as refused:
        _decode(data)
    assert refused.value.code == code


def test_limits_name_their_flags() -> None:
    data = _file(_plain((300, 200)), "PNG")
    for limits, code, flag in (
        (IntakeLimits(max_bytes=100), "image-too-large", "--max-image-mb"),
        (IntakeLimits(max_dimension=299), "image-dimension-too-large", "--max-dim"),
        (IntakeLimits(max_pixels=59_999), "image-too-many-pixels", ""),
    ):
        with pytest.raises(ImageError) as refused:
            _decode(data, limits)
        assert refused.value.code == code
        assert flag in refused.value.hint


def test_a_decompression_bomb_is_refused_from_its_header() -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", 29_000, 29_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    )
    with pytest.raises(ImageError) as refused:
        _decode(bomb)
    assert refused.value.code == "image-too-many-pixels"


_SEEDS = [
    _file(_plain(), "PNG"),
    _file(_plain(), "JPEG"),
    _file(_plain(), "WEBP"),
    _file(_plain(), "GIF"),
    _file(_plain(), "BMP"),
    _file(_plain(), "TIFF", compression="tiff_lzw"),
    _file(Image.new("RGBA", (9, 9)), "TIFF"),
]


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_hostile_files_never_escape(data: st.DataObject) -> None:
    blob = bytearray(data.draw(st.sampled_from(_SEEDS)))
    for _ in range(data.draw(st.integers(0, 6))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    blob = blob[: data.draw(st.integers(0, len(blob)))]
    try:
        decoded = _decode(bytes(blob), IntakeLimits(max_pixels=1_000_000))
    except ImageError as error:
        assert error.code.startswith("image-")
    else:
        assert decoded.pixels.ndim == 3


@given(st.binary(max_size=200))
def test_any_bytes_never_escape(data: bytes) -> None:
    try:
        _decode(data)
    except ImageError as error:
        assert error.message
