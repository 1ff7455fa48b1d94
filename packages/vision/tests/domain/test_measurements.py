"""Theme, palette and contrast against images whose answers are known."""

from __future__ import annotations

import time

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from shimmy_vision.domain.colour import contrast_ratio, hex_of, lightness
from shimmy_vision.domain.contrast import NORMAL_TEXT, measure_contrast
from shimmy_vision.domain.measurements import measure_image
from shimmy_vision.domain.palette import measure_palette
from shimmy_vision.domain.pixels import RgbPixels


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


def _text(background: str, foreground: str, size: int = 16, lines: int = 5) -> RgbPixels:
    image = Image.new("RGB", (640, 60 * lines), background)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=size)
    for line in range(lines):
        draw.text((24, 16 + 60 * line), "The quick brown fox jumps", fill=foreground, font=font)
    return np.asarray(image)


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [
        ("#000000", "#ffffff", 21.0),
        ("#767676", "#ffffff", 4.54),
        ("#777777", "#ffffff", 4.48),
        ("#0000ff", "#ffffff", 8.59),
        ("#ff0000", "#ffffff", 4.00),
        ("#123456", "#123456", 1.0),
    ],
)
def test_contrast_ratios_as_wcag_publishes_them(one: str, other: str, ratio: float) -> None:
    assert float(contrast_ratio(_rgb(one), _rgb(other))) == pytest.approx(ratio, abs=0.005)
    assert float(contrast_ratio(_rgb(other), _rgb(one))) == pytest.approx(ratio, abs=0.005)


def test_lightness_ends_at_black_and_white() -> None:
    assert lightness([[0, 0, 0], [255, 255, 255], [119, 119, 119]]) == pytest.approx(
        [0, 100, 50], abs=0.1
    )


@pytest.mark.parametrize(
    ("background", "foreground", "size", "ratio", "compliant"),
    [
        ("#ffffff", "#000000", 16, 21.0, True),
        ("#ffffff", "#767676", 16, 4.54, True),
        ("#ffffff", "#777777", 16, 4.48, False),
        ("#ffffff", "#999999", 32, 2.85, False),
        ("#ffffff", "#8a8a8a", 32, 3.45, True),
        ("#ffffff", "#8a8a8a", 16, 3.45, False),
        ("#1e1e1e", "#d4d4d4", 14, 11.25, True),
        ("#1e1e1e", "#555555", 14, 2.24, False),
        ("#ffffff", "#cccccc", 14, 1.61, False),
        ("#ffffff", "#eeeeee", 20, 1.16, False),
        ("#123a63", "#cfe1f5", 16, 8.69, True),
    ],
)
def test_text_contrast_is_measured(
    background: str, foreground: str, size: int, ratio: float, compliant: bool
) -> None:
    pixels = _text(background, foreground, size)
    contrast = measure_contrast(pixels, measure_palette(pixels))
    assert contrast.ratio == pytest.approx(ratio, abs=0.02)
    assert contrast.compliant is compliant
    assert bool(contrast.issues) is not compliant
    for issue in contrast.issues:
        assert (issue.foreground, issue.background) == (foreground, background)
        assert issue.box.x <= 24 <= issue.box.right


def test_only_the_faint_line_is_reported_and_where_it_stands() -> None:
    image = Image.new("RGB", (800, 400), "#f5f7fa")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=16)
    draw.text((40, 40), "Plain to read", fill="#1f2933", font=font)
    draw.text((40, 300), "Faint on purpose", fill="#a9b4c0", font=font)
    pixels = np.asarray(image)
    (issue,) = measure_contrast(pixels, measure_palette(pixels)).issues
    left, top, right, bottom = draw.textbbox((40, 300), "Faint on purpose", font=font)
    assert issue.box.x - 8 <= left
    assert right <= issue.box.right + 8
    assert issue.box.y - 8 <= top
    assert bottom <= issue.box.bottom + 8
    assert issue.required == NORMAL_TEXT


def test_noise_and_photographs_are_not_text() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    assert measure_image(noise).contrast.issues == ()
    ramp = np.linspace(0, 255, 400).astype(np.uint8)
    gradient = np.repeat(np.repeat(ramp[np.newaxis, :, np.newaxis], 300, 0), 3, 2)
    assert measure_image(gradient).contrast.issues == ()


def _areas(*areas: tuple[str, tuple[int, int, int, int]], size: tuple[int, int]) -> RgbPixels:
    image = Image.new("RGB", size, areas[0][0])
    for colour, box in areas[1:]:
        ImageDraw.Draw(image).rectangle(box, fill=colour)
    return np.asarray(image)


def test_palette_of_flat_areas_is_exact() -> None:
    pixels = _areas(
        ("#f5f7fa", (0, 0, 0, 0)),
        ("#123a63", (0, 0, 999, 119)),
        ("#e2583e", (600, 400, 899, 459)),
        ("#2a9d4a", (50, 500, 149, 549)),
        size=(1000, 600),
    )
    palette = measure_palette(pixels)
    assert palette.background == "#f5f7fa"
    assert palette.accent_colors == ("#123a63", "#e2583e", "#2a9d4a")
    assert palette.accents[0].share == pytest.approx(0.2, abs=0.002)


def test_blends_at_edges_are_no_accents() -> None:
    image = Image.new("RGB", (800, 600), "white")
    draw = ImageDraw.Draw(image)
    for x in range(0, 800, 40):
        draw.ellipse((x, 100, x + 300, 400), outline="#0d6efd", width=9)
    blurred = image.resize((400, 300), Image.Resampling.LANCZOS)
    palette = measure_palette(np.asarray(blurred))
    assert palette.background == "#ffffff"
    assert palette.accent_colors[:1] in ((), ("#0d6efd",))


@pytest.mark.parametrize(
    ("pixels", "theme"),
    [
        (_areas(("#ffffff", (0, 0, 0, 0)), size=(80, 60)), "light"),
        (_areas(("#121212", (0, 0, 0, 0)), size=(80, 60)), "dark"),
        (_areas(("#ffffff", (0, 0, 0, 0)), ("#101010", (0, 0, 39, 59)), size=(80, 60)), "mixed"),
        (_areas(("#ffffff", (0, 0, 0, 0)), ("#101010", (0, 0, 9, 59)), size=(80, 60)), "light"),
        (_areas(("#808080", (0, 0, 0, 0)), size=(80, 60)), "light"),
        (_areas(("#707070", (0, 0, 0, 0)), size=(80, 60)), "dark"),
    ],
)
def test_theme(pixels: RgbPixels, theme: str) -> None:
    assert measure_image(pixels).theme == theme


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (7, 9)])
def test_tiny_images_are_measured(size: tuple[int, int]) -> None:
    measured = measure_image(np.full((*size, 3), 200, dtype=np.uint8))
    assert measured.palette.background == hex_of((200, 200, 200))
    assert measured.contrast.ratio == 1.0
    assert measured.contrast.compliant


def test_a_large_screenshot_takes_seconds_not_minutes() -> None:
    pixels = np.tile(_text("#ffffff", "#333333"), (15, 11, 1))  # 32 megapixels
    started = time.perf_counter()
    measured = measure_image(pixels)
    assert time.perf_counter() - started < 5.0
    assert measured.contrast.ratio == pytest.approx(12.63, abs=0.02)
