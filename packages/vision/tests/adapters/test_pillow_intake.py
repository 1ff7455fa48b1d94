"""Six formats become upright, opaque, 8-bit sRGB; everything else is refused in words."""

from __future__ import annotations

import io
import struct
import time
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from shimmy_vision.adapters.files.pillow_intake import PillowIntake
from shimmy_vision.domain.image.jpeg_scans import count_scans
from shimmy_vision.errors import ImageError, StoppedError
from shimmy_vision.ports.cancellation import Cancellation
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
        (b"\x89PNG\r\n\x1a\n", "image-truncated"),
        (b"BM" + b"\xff" * 60, "image-corrupt"),
        (_file(_plain((400, 300)), "PNG")[:-60], "image-truncated"),
        (_file(_plain((400, 300)), "JPEG")[:900], "image-truncated"),
    ],
)
def test_broken_files_are_refused(data: bytes, code: str) -> None:
    with pytest.raises(ImageError) as refused:
        _decode(data)
    assert refused.value.code == code


def _photo() -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((160, 120))


_WHOLE = {
    "PNG": _file(_photo(), "PNG"),
    "JPEG": _file(_photo(), "JPEG"),
    "progressive JPEG": _file(_photo(), "JPEG", progressive=True),
    "WebP": _file(_photo(), "WEBP"),
    "lossless WebP": _file(_photo(), "WEBP", lossless=True),
    "GIF": _file(_photo(), "GIF"),
    "BMP": _file(_photo(), "BMP"),
    "TIFF": _file(_photo(), "TIFF"),
    "LZW TIFF": _file(_photo(), "TIFF", compression="tiff_lzw"),
    "deflate TIFF": _file(_photo(), "TIFF", compression="tiff_adobe_deflate"),
}


@pytest.mark.parametrize("name", _WHOLE)
@settings(max_examples=20, deadline=None)
@given(st.floats(0, 1))
def test_a_file_cut_anywhere_is_called_truncated_or_is_whole(name: str, place: float) -> None:
    whole = _WHOLE[name]
    cut = 12 + int(place * (len(whole) - 13))
    try:
        decoded = _decode(whole[:cut])
    except ImageError as error:
        assert error.code == "image-truncated"
        assert "Download" in error.hint
    else:
        assert np.array_equal(decoded.pixels, _decode(whole).pixels)


def test_damage_inside_a_whole_file_is_called_corrupt() -> None:
    for name in ("PNG", "GIF", "LZW TIFF"):  # the others' decoders notice no damage like this
        data = bytearray(_WHOLE[name])
        middle = len(data) // 2
        data[middle : middle + 200] = bytes(200)
        with pytest.raises(ImageError) as refused:
            _decode(bytes(data))
        assert refused.value.code == "image-corrupt", name


def _wide_gamut() -> bytes:
    """The sRGB profile with Display P3's primaries, as macOS writes into screenshots."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    primaries = {
        b"rXYZ": (0.5151, 0.2412, -0.0011),
        b"gXYZ": (0.2920, 0.6922, 0.0419),
        b"bXYZ": (0.1571, 0.0666, 0.7841),
    }
    (count,) = struct.unpack_from(">I", profile, 128)
    for place in range(132, 132 + 12 * count, 12):
        name, at, _ = struct.unpack_from(">4sII", profile, place)
        if name in primaries:
            struct.pack_into(">iii", profile, at + 8, *(round(v * 65536) for v in primaries[name]))
    return bytes(profile)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_profiles_hold_for_every_way_to_store_the_same_colours(mode: str) -> None:
    data = _file(_plain((8, 8)).convert(mode), "PNG", icc_profile=_wide_gamut())
    decoded = _decode(data)
    assert decoded.info.notes == ("colour profile applied",)
    # Display P3 (51, 102, 153) in sRGB: the red channel falls, being outside P3's mix.
    assert np.abs(decoded.pixels[0, 0].astype(int) - (26, 104, 157)).max() <= 2


def test_profiles_are_applied_before_transparency_is_laid_on_white() -> None:
    image = Image.new("RGBA", (8, 8), (*COLOUR, 128))
    decoded = _decode(_file(image, "PNG", icc_profile=_wide_gamut()))
    assert decoded.info.notes == ("colour profile applied", "transparency laid on white")
    assert np.abs(decoded.pixels[0, 0].astype(int) - (140, 179, 206)).max() <= 2


def test_an_opaque_alpha_channel_is_nothing_to_tell() -> None:
    decoded = _decode(_file(_plain().convert("RGBA"), "PNG"))
    assert decoded.info.notes == ()
    assert tuple(decoded.pixels[0, 0]) == COLOUR


def _raw_tiff(bits: int, photometric: int, data: bytes) -> bytes:
    """A 4 x 4 TIFF in one strip."""
    entries = {256: 4, 257: 4, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 4}
    entries[279] = len(data)
    directory = b"".join(struct.pack("<HHIHH", tag, 3, 1, v, 0) for tag, v in entries.items())
    start = b"II*\0" + struct.pack("<I", 8 + len(data)) + data
    return start + struct.pack("<H", len(entries)) + directory + bytes(4)


@pytest.mark.parametrize(
    ("bits", "sample"), [(8, bytes([40])), (16, struct.pack("<H", 40 * 257))], ids=["8", "16"]
)
def test_scans_that_count_from_white_are_not_negatives(bits: int, sample: bytes) -> None:
    from_black, from_white = 1, 0
    assert _decode(_raw_tiff(bits, from_black, sample * 16)).pixels[0, 0, 0] == 40
    assert _decode(_raw_tiff(bits, from_white, sample * 16)).pixels[0, 0, 0] == 255 - 40


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


def _with_scans(more: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """A progressive JPEG whose last scan comes ``more`` times again."""
    data = _file(Image.new("L", size, 128), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * more + data[-2:]


def test_a_jpeg_that_goes_over_its_picture_too_often_is_refused_undecoded() -> None:
    data = _with_scans(20_000, (4000, 4000))
    assert len(data) < 1_000_000
    started = time.process_time()
    with pytest.raises(ImageError) as refused:
        _decode(data)
    # A tenth on an idle core; decoding them all takes minutes.
    assert time.process_time() - started < 5
    assert refused.value.code == "image-too-many-scans"
    assert refused.value.hint


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_scans_are_counted_as_they_are(mode: str, options: dict[str, Any]) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (200, 200, 4), dtype=np.uint8)
    image = Image.fromarray(noise, "CMYK").convert(mode)
    thumbnail = _file(_plain(), "JPEG", progressive=True)
    # What stands in other segments, or behind the picture, is none of its scans.
    exif = b"Exif\0\0" + b"\xff\xda" * 150 + thumbnail
    data = _file(image, "JPEG", exif=exif, **options)
    progressive = "progressive" in options
    expected = 1 if not progressive else (6 if mode == "L" else 10)
    if progressive and mode == "CMYK":
        expected = count_scans(data)
        assert 4 <= expected <= 30
    assert count_scans(data) == expected
    assert _decode(data + b"\xff\xda" * 150).pixels.shape == (200, 200, 3)


def test_a_hundred_scans_are_decoded() -> None:
    data = _with_scans(94)
    assert count_scans(data) == 100
    assert _decode(data).pixels.shape == (48, 64, 3)
    with pytest.raises(ImageError):
        _decode(_with_scans(95))


@given(st.binary(max_size=300))
def test_counting_scans_of_anything_ends(tail: bytes) -> None:
    assert 0 <= count_scans(b"\xff\xd8\xff" + tail) <= len(tail)


def test_a_thrown_switch_ends_decoding() -> None:
    switch = Cancellation()
    switch.cancel("deadline")
    for format_ in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"):
        with pytest.raises(StoppedError):
            INTAKE.decode(_file(_plain(), format_), LIMITS, switch)


def test_a_switch_thrown_in_the_middle_of_a_file_ends_decoding() -> None:
    class Later(Cancellation):
        looks = 0

        def check(self) -> None:
            self.looks += 1
            if self.looks > 30:
                self.cancel("interrupted")
            super().check()

    noise = np.random.default_rng(3).integers(0, 256, (2000, 2000, 3), dtype=np.uint8)
    switch = Later()
    with pytest.raises(StoppedError):
        INTAKE.decode(_file(Image.fromarray(noise), "PNG"), LIMITS, switch)
    assert switch.looks < 40


def test_very_many_frames_are_not_counted_to_their_end() -> None:
    start = _file(Image.new("P", (2, 2)), "GIF")[:-1]
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x4c\x01\x00"
    assert _decode(start + frame * 20 + b";").info.notes == ("first of 21 frames",)
    many = _decode(start + frame * 1_000_000 + b";")
    assert many.info.notes == ("first of very many frames",)
    assert many.pixels.shape == (2, 2, 3)


@pytest.mark.parametrize(
    ("name", "head"), [(b"zTXt", b"a\0\0"), (b"iCCP", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0")]
)
def test_packed_text_and_profiles_of_a_png_are_bounded(name: bytes, head: bytes) -> None:
    plain = _file(_plain(), "PNG")
    body = head + zlib.compress(bytes(50_000_000))
    chunk = struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    with pytest.raises(ImageError) as refused:
        _decode(plain[:33] + chunk + plain[33:])
    assert refused.value.code == "image-corrupt"
