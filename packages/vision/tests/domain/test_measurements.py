"""Theme, palette and contrast against images whose answers are known."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from shimmy_vision.domain.image.pixels import RgbPixels
from shimmy_vision.domain.measure.colour import contrast_ratio, hex_of, lightness
from shimmy_vision.domain.measure.contrast import NORMAL_TEXT, measure_contrast
from shimmy_vision.domain.measure.measurements import measure_image
from shimmy_vision.domain.measure.palette import measure_palette


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


@pytest.mark.parametrize("size", [11, 12, 14])
def test_small_text_measures_as_designed(size: int) -> None:
    contrast = measure_image(_text("#ffffff", "#767676", size)).contrast
    assert contrast.ratio == pytest.approx(4.54, abs=0.01)
    assert contrast.compliant


@pytest.mark.parametrize("size", [24, 40, 60, 100])
def test_large_text_needs_less(size: int) -> None:
    image = Image.new("RGB", (1800, 3 * size), "white")
    font = ImageFont.load_default(size=size)
    ImageDraw.Draw(image).text((24, size), "The quick brown fox jumps", fill="#777777", font=font)
    contrast = measure_image(np.asarray(image)).contrast
    assert contrast.ratio == pytest.approx(4.48, abs=0.01)
    assert contrast.compliant


def test_text_as_bright_as_its_background_is_found() -> None:
    contrast = measure_image(_text("#4c4c4c", "#ff0000")).contrast
    assert contrast.ratio == pytest.approx(2.15, abs=0.01)
    assert not contrast.compliant


def _screen(*, faint_text: bool) -> RgbPixels:
    """A page of cards, rules, a table's grid and a button, all text readable or one line not."""
    image = Image.new("RGB", (1280, 720), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=16)
    for left in (40, 440, 840):
        draw.rounded_rectangle((left, 40, left + 360, 240), 10, outline="#e0e0e0")
        draw.text((left + 20, 60), "Card title", fill="#222222", font=font)
        draw.line((left + 20, 100, left + 340, 100), fill="#eeeeee")
        draw.ellipse((left + 310, 60, left + 340, 90), fill="#f0f0f0")
    for y in range(300, 601, 30):
        draw.line((40, y, 1240, y), fill="#e4e4e4")
        draw.text((60, y + 6), f"Row {y}", fill="#333333", font=font)
    for x in range(40, 1241, 200):
        draw.line((x, 300, x, 600), fill="#e4e4e4")
    draw.rounded_rectangle((40, 640, 180, 690), 6, fill="#0b5ed7")
    draw.text((70, 655), "Continue", fill="white", font=font)
    if faint_text:
        draw.text((460, 426), "Not to be read", fill="#bbbbbb", font=font)
    return np.asarray(image)


def test_rules_frames_and_tables_are_not_text() -> None:
    contrast = measure_image(_screen(faint_text=False)).contrast
    assert contrast.issues == ()
    assert contrast.compliant
    assert contrast.ratio > 5


def test_faint_text_between_rules_is_found() -> None:
    (issue,) = measure_image(_screen(faint_text=True)).contrast.issues
    assert issue.foreground == "#bbbbbb"
    assert issue.box.x <= 462 < 560 <= issue.box.right + 8
    assert issue.box.y <= 432 < 440 <= issue.box.bottom + 8


@pytest.mark.parametrize("kind", ["grid", "checkers", "grain", "bars"])
def test_patterns_are_not_text(kind: str) -> None:
    y, x = np.indices((300, 400))
    grey = {
        "grid": np.where((y % 20 == 0) | (x % 60 == 0), 221, 255),
        "checkers": (y + x) // 10 % 2 * 40 + 200,
        "grain": np.clip(np.random.default_rng(0).normal(200, 10, (300, 400)), 0, 255),
        "bars": np.where((x % 50 < 20) & (y > 260 - x // 2), 200, 255),
    }[kind]
    pixels = np.repeat(grey[..., np.newaxis].astype(np.uint8), 3, axis=2)
    assert measure_image(pixels).contrast.issues == ()


@pytest.mark.parametrize("quality", [75, 85, 95])
def test_lossy_text_measures_about_as_designed(quality: int) -> None:
    buffer = io.BytesIO()
    Image.fromarray(_text("#ffffff", "#aaaaaa")).save(buffer, "JPEG", quality=quality)
    contrast = measure_image(np.asarray(Image.open(buffer).convert("RGB"))).contrast
    assert contrast.ratio == pytest.approx(2.32, rel=0.12)
    assert not contrast.compliant


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
    started = time.process_time()
    measured = measure_image(pixels)
    assert time.process_time() - started < 20  # one, on an idle core
    assert measured.contrast.ratio == pytest.approx(12.63, abs=0.02)


def test_measuring_looks_up_between_its_steps() -> None:
    looks = list[int]()

    class StopError(Exception):
        pass

    def check() -> None:
        looks.append(1)
        if len(looks) == most:
            raise StopError

    most = 0
    measure_image(_screen(faint_text=True), check)
    assert len(looks) >= 5
    for chosen in range(1, 6):
        most = chosen
        looks.clear()
        with pytest.raises(StopError):
            measure_image(_screen(faint_text=True), check)
