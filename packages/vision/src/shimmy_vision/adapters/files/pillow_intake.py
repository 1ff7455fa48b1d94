"""Pillow behind the ``ImageIntake`` port: six formats, upright, opaque, 8-bit sRGB."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, TiffImagePlugin

from shimmy_vision.domain.image.file_end import ends_early
from shimmy_vision.domain.image.file_kind import FileKind, recognise_file
from shimmy_vision.domain.image.jpeg_scans import count_scans, may_have_more_scans
from shimmy_vision.domain.image.pixels import RgbPixels
from shimmy_vision.errors import ImageError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.image_intake import DecodedImage, ImageInfo, IntakeLimits

_ORIENTATION = 0x0112
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_MANAGED = ("RGB", "CMYK", "L")  # what colour profiles are applied to as they are
_PLAIN = ("RGB", "L", "P", "1", "RGBA", "LA", "PA")
_COUNTED_BY_READING = ("GIF", "TIFF")  # the others tell in their header
_FRAME_READS = 200_000
_BAND_VALUES = 1 << 18
_DEEP = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})


class PillowIntake:
    """The ``ImageIntake`` port."""

    def decode(
        self, data: bytes, limits: IntakeLimits, cancellation: Cancellation | None = None
    ) -> DecodedImage:
        _check_bytes(data, limits)
        stop = cancellation or Cancellation()
        kind = recognise_file(data)
        if not kind.pillow:
            raise ImageError(
                "image-unsupported", f"Unsupported image type: found {kind.name}.", hint=kind.hint
            )
        _check_scans(data, kind, limits)
        with (
            _pillow_errors(kind, data),
            Image.open(_WatchedBytes(data, stop), formats=[kind.pillow]) as file,
        ):
            _check_size(file.size, limits)
            notes = _frames(data, kind, file, stop)
            file.load()
            stop.check()
            image, turned = _upright(file)
            stop.check()
            pixels, conversions = _plain_pixels(image, stop.check)
        stop.check()
        height, width, _ = pixels.shape
        info = ImageInfo(kind.name, width, height, (*notes, *turned, *conversions))
        return DecodedImage(pixels, info)


class _WatchedBytes(io.BytesIO):
    """Pillow reads in pieces: between two of them it can be stopped, or has read often enough."""

    def __init__(self, data: bytes, cancellation: Cancellation, most: int | None = None) -> None:
        super().__init__(data)
        self._cancellation, self._left = cancellation, most

    def read(self, size: int | None = -1, /) -> bytes:
        self._cancellation.check()
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise _ReadTooOftenError
        return super().read(size)


class _ReadTooOftenError(Exception):
    """No error of a file: somebody only wanted to know how many frames there are."""


def _check_bytes(data: bytes, limits: IntakeLimits) -> None:
    if not data:
        raise ImageError("image-empty", "The image is empty: 0 bytes.")
    if len(data) > limits.max_bytes:
        raise ImageError(
            "image-too-large",
            f"The image is larger than {limits.max_bytes / 1e6:g} MB.",
            hint="Raise the limit with --max-image-mb.",
        )


def _check_size(size: tuple[int, int], limits: IntakeLimits) -> None:
    width, height = size
    if max(size) > limits.max_dimension:
        raise ImageError(
            "image-dimension-too-large",
            f"The image is {width}x{height} pixels; the longest side may be "
            f"{limits.max_dimension}.",
            hint="Raise the limit with --max-dim.",
        )
    if width * height > limits.max_pixels:
        raise ImageError(
            "image-too-many-pixels",
            f"The image has {width * height / 1e6:.0f} megapixels; at most "
            f"{limits.max_pixels / 1e6:.0f} are decoded.",
            hint="Cut or shrink it first.",
        )


def _check_scans(data: bytes, kind: FileKind, limits: IntakeLimits) -> None:
    most = limits.max_scans
    if kind.pillow != "JPEG" or not may_have_more_scans(data, most):
        return
    scans = count_scans(data)
    if scans > most:
        raise ImageError(
            "image-too-many-scans",
            f"The JPEG file goes over its picture {scans:,} times; at most {most} are decoded.",
            hint="Open and save it again in an image editor.",
        )


@contextmanager
def _pillow_errors(kind: FileKind, data: bytes) -> Iterator[None]:
    """The one place where Pillow's failures become ours."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(
            "image-too-many-pixels",
            f"The {kind.name} file claims more pixels than are decoded.",
            hint="Cut or shrink it first.",
        ) from error
    except (
        OSError, EOFError, ValueError, TypeError, SyntaxError, KeyError, IndexError, AttributeError,
        OverflowError, struct.error, zlib.error, MemoryError, RuntimeError, ZeroDivisionError,
        AssertionError,
    ) as error:  # fmt: skip
        # Pillow's decoders let all of these out on hostile files.
        if "truncated" in str(error) or ends_early(data, kind.pillow):
            raise _truncated(kind.name, len(data)) from error
        raise _corrupt(kind.name, error) from error


def _truncated(kind: str, size: int) -> ImageError:
    return ImageError(
        "image-truncated",
        f"The {kind} file ends too early, after {size:,} bytes.",
        hint="Download or save it again.",
    )


def _corrupt(kind: str, error: BaseException) -> ImageError:
    reason = str(error).split("<_io", 1)[0].strip() or type(error).__name__
    return ImageError(
        "image-corrupt",
        f"The {kind} file is damaged: {reason}.",
        hint="Open and save it again in an image editor.",
    )


def _frames(
    data: bytes, kind: FileKind, file: Image.Image, cancellation: Cancellation
) -> tuple[str, ...]:
    """A note on the frames that are not shown; only the first is ever decoded."""
    if kind.pillow not in _COUNTED_BY_READING:
        frames = getattr(file, "n_frames", 1)
        return (f"first of {frames} frames",) if frames > 1 else ()
    # On a file of its own, which may be left anywhere.
    try:
        watched = _WatchedBytes(data, cancellation, _FRAME_READS)
        with Image.open(watched, formats=[kind.pillow]) as counted:
            frames = getattr(counted, "n_frames", 1)
    except _ReadTooOftenError:
        return ("first of very many frames",)
    return (f"first of {frames} frames",) if frames > 1 else ()


def _upright(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except (ValueError, SyntaxError, struct.error, KeyError, TypeError, OSError):
        return image, ("EXIF data unreadable, ignored",)
    if orientation not in range(2, 9):
        return image, ()
    turned = ImageOps.exif_transpose(image)
    return turned, (f"turned upright (EXIF orientation {orientation})",)


def _plain_pixels(
    image: Image.Image, check: Callable[[], None]
) -> tuple[RgbPixels, tuple[str, ...]]:
    if image.mode in _DEEP:
        return _from_deep(image, check), (f"reduced from {image.mode} to 8 bits",)
    if image.mode == "RGBa":
        image = image.convert("RGBA")  # colours as they were before alpha dimmed them
    if not image.has_transparency_data:
        converted, notes = _to_srgb(image)
        return _array(converted), notes
    alpha = image.convert("RGBA").getchannel("A")
    opaque, notes = _to_srgb(image.getchannel("L") if image.mode == "LA" else image)
    if alpha.getextrema() == (255, 255):
        return _array(opaque), notes
    flat = Image.new("RGB", image.size, "white")
    flat.paste(opaque, mask=alpha)
    return _array(flat), (*notes, "transparency laid on white")


def _to_srgb(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """Colours without their alpha, and what was done to them."""
    profile = image.info.get("icc_profile")
    notes = () if image.mode in _PLAIN else (f"converted from {image.mode}",)
    colours = image if image.mode in _MANAGED else image.convert("RGB")
    if profile and image.mode in (*_MANAGED, *_PLAIN):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            target = ImageCms.createProfile("sRGB")
            managed = ImageCms.profileToProfile(colours, source, target, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            return colours.convert("RGB"), (*notes, "colour profile unusable, ignored")
        if managed is not None:
            return managed, (*notes, "colour profile applied")
    return colours.convert("RGB"), notes


def _from_deep(image: Image.Image, check: Callable[[], None]) -> RgbPixels:
    """16-bit, 32-bit and float grey to 8 bits: by the type's range where it is known."""
    values = np.asarray(image)
    height, width = values.shape
    # In bands: as numbers to reckon with, all of it would take eight times its memory.
    step = max(1, _BAND_VALUES // max(1, width))
    bands = [slice(start, start + step) for start in range(0, height, step)]
    top = 65535.0
    if not image.mode.startswith("I;16"):
        top = _known_top(image.mode, max(float(_finite(values[band]).max()) for band in bands))
    # Pillow inverts 8-bit files of this kind, 16-bit ones not.
    inverted = image.mode.startswith("I;16") and _is_inverted(image)
    rgb = np.empty((height, width, 3), dtype=np.uint8)
    for band in bands:
        check()
        reckoned = _finite(values[band])
        reckoned = top - reckoned if inverted else reckoned
        grey = np.clip(reckoned / top * 255.0 + 0.5, 0, 255).astype(np.uint8)
        rgb[band] = grey[..., np.newaxis]
    return rgb


def _finite(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _known_top(mode: str, peak: float) -> float:
    top = next((limit for limit in (1.0, 255.0, 65535.0) if peak <= limit), peak)
    return 255.0 if mode == "I" and top == 1.0 else top


def _is_inverted(image: Image.Image) -> bool:
    return (
        isinstance(image, TiffImagePlugin.TiffImageFile)
        and image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    )


def _array(image: Image.Image) -> RgbPixels:
    return np.ascontiguousarray(np.asarray(image, dtype=np.uint8))
