"""No part that holds a glyph's pixel is blank; soft grounds are. What is written is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rendered_text import (
    SCRIPTS,
    TEXTS,
    Ground,
    Lettering,
    as_jpeg,
    contrast_ratio,
    fonts,
    luminance,
    written,
)

from shimmy_vision.adapters.engine.slice_pixels import cut_tile
from shimmy_vision.domain.image.blankness import is_blank
from shimmy_vision.domain.image.pixels import Box, RgbPixels
from shimmy_vision.domain.image.slice_grid import EncoderGrid, SlicePlan, plan_slices
from shimmy_vision.domain.image.slice_sharing import plan_sharing

_WIDTH, _HEIGHT = 420, 300
_PLAN = SlicePlan((_WIDTH, _HEIGHT), (448, 448), (_WIDTH, _HEIGHT), 3, 2)
_SLICES = [
    Box(column * _WIDTH // 3, line * _HEIGHT // 2, _WIDTH // 3, _HEIGHT // 2)
    for line in range(2)
    for column in range(3)
]
_WHOLE = Box(0, 0, _WIDTH, _HEIGHT)

_angles = st.floats(0, 2 * math.pi) | st.sampled_from([0.0, math.pi / 2])
_channels = st.integers(0, 255) | st.sampled_from([0, 18, 248, 255])
_greys = st.integers(0, 255).map(lambda grey: (grey, grey, grey))
_colours = st.tuples(_channels, _channels, _channels) | _greys
_grounds = st.builds(Ground, _colours) | st.builds(
    Ground, _colours, st.sampled_from([0.02, 0.05, 0.1, 0.2, 0.3, 0.45]), _angles
)
_letterings = st.builds(
    Lettering,
    text=st.sampled_from(TEXTS + SCRIPTS),
    font=st.deferred(lambda: st.sampled_from(fonts())),
    size=st.integers(6, 40),
    x=st.integers(-5, _WIDTH - 5),
    y=st.integers(-5, _HEIGHT - 5),
    contrast=st.sampled_from([1.05, 1.06, 1.1, 1.5, 4.5, 15]),
    turn=st.sampled_from([0, 0, 0, 7, 45, 90, -30]),
    subpixel=st.booleans(),
)


def _holding(picture: RgbPixels, plain: RgbPixels, least: int = 1) -> set[int]:
    """Slices in which the text changed a pixel by so many levels.

    A glyph that the picture's own edge cuts off, but for its fringe, is left out: see limits.md.
    """
    changed = np.abs(picture.astype(np.int16) - plain).max(axis=2) >= least
    changed[[0, -1]] = changed[:, [0, -1]] = False
    return {
        number
        for number, box in enumerate(_SLICES)
        if changed[box.y : box.bottom, box.x : box.right].any()
    }


def _dropped(picture: RgbPixels) -> set[int]:
    """Slices that are not seen for themselves, or are what others are seen as."""
    blank = {number for number, box in enumerate(_SLICES) if is_blank(picture, box)}
    seen = plan_sharing(picture, _WHOLE, _PLAN)
    shared = {number for number, own in enumerate(seen) if own != number} | {
        own for number, own in enumerate(seen) if own != number
    }
    assert shared <= blank
    return blank


@settings(max_examples=100, deadline=None)
@given(ground=_grounds, lettering=_letterings)
@example(
    ground=Ground((124, 124, 124)),
    lettering=Lettering(".", "", 6, 139, 149, 1.05),
)
def test_no_slice_that_holds_a_glyphs_pixel_is_dropped(
    ground: Ground, lettering: Lettering
) -> None:
    plain = ground.draw(_WIDTH, _HEIGHT)
    picture = written(plain, lettering)
    assert not _holding(picture, plain) & _dropped(picture)


@settings(max_examples=40, deadline=None)
@given(ground=_grounds, lettering=_letterings, quality=st.integers(30, 95))
def test_nor_is_one_that_holds_what_a_jpeg_left_of_it(
    ground: Ground, lettering: Lettering, quality: int
) -> None:
    plain = ground.draw(_WIDTH, _HEIGHT)
    picture = as_jpeg(written(plain, lettering), quality)
    # A quantised block may be a level lighter as a whole, where no letter is left to be seen.
    assert not _holding(picture, as_jpeg(plain, quality), 2) & _dropped(picture)


_RESIZED = 470, 400
_LARGER = plan_slices(*_RESIZED, EncoderGrid(merge=4))


@settings(max_examples=60, deadline=None)
@given(ground=_grounds, lettering=_letterings)
def test_nor_is_one_where_the_encoder_sees_the_picture_at_another_size(
    ground: Ground, lettering: Lettering
) -> None:
    """Two slices, 1.3 times as large: what was sharp is soft, and a glyph's edge a slope."""
    plain = ground.draw(*_RESIZED)
    cut, cut_plain = (cut_tile(one, _LARGER) for one in (written(plain, lettering), plain))
    seen = plan_sharing(cut.refined, cut.ground, _LARGER)
    held = [
        bool((piece != empty).any())
        for piece, empty in zip(cut.pieces[1:], cut_plain.pieces[1:], strict=True)
    ]
    if any(held):
        assert seen == (0, 1), "each is seen for itself, or the blank one would stand for it"


@settings(max_examples=40, deadline=None)
@given(
    ground=_colours,
    line=st.integers(0, _HEIGHT - 1),
    column=st.integers(0, _WIDTH - 1),
    length=st.integers(1, 40),
    level=st.sampled_from([-3, 3]),
    upright=st.booleans(),
)
def test_nor_is_one_with_a_line_one_pixel_thin(
    ground: tuple[int, int, int], line: int, column: int, length: int, level: int, upright: bool
) -> None:
    plain = Ground(ground).draw(_WIDTH, _HEIGHT)
    picture = plain.copy()
    rows = slice(line, line + length) if upright else slice(line, line + 1)
    columns = slice(column, column + 1) if upright else slice(column, column + length)
    drawn = np.clip(picture[rows, columns].astype(np.int16) + level, 0, 255)
    picture[rows, columns] = drawn
    assert not _holding(picture, plain) & _dropped(picture)


def test_every_faint_letter_of_every_size_is_seen_on_every_grey() -> None:
    """Contrast 1.05:1, the least, of letters of 6 pixels: one or two levels where it is smooth."""
    for grey in range(0, 256, 5):
        plain = Ground((grey, grey, grey)).draw(60, 40)
        for number, text in enumerate(TEXTS):
            lettering = Lettering(text, "", 6 + (grey + number) % 35, 20, 5, 1.05)
            picture = written(plain, lettering)
            # A full stop of 6 pixels may be smoothed away altogether.
            assert is_blank(picture, Box(0, 0, 60, 40)) == (picture == plain).all(), lettering


def test_the_faintest_ink_has_the_contrast_that_it_claims() -> None:
    """Else the fixtures would prove less than they say; a level of rounding aside."""
    for colour in ((255, 255, 255), (124, 124, 124), (0, 0, 0), (30, 60, 200)):
        plain = Ground(colour).draw(60, 40)
        picture = written(plain, Lettering("W", "", 40, 5, -5, 1.05))
        far = np.abs(luminance(picture) - luminance(plain)).argmax()
        ink = picture.reshape(-1, 3)[far]
        assert 1.03 < contrast_ratio(tuple(ink), colour) < 1.09


@pytest.mark.parametrize("climb", [0.0, 0.02, 0.1, 0.3])
@pytest.mark.parametrize("angle", [0.0, 0.6, math.pi / 2])
def test_soft_grounds_are_blank(climb: float, angle: float) -> None:
    """Where nothing was, nothing would be saved either, and the other tests would prove nothing."""
    ground = Ground((250, 246, 240), climb, angle).draw(_WIDTH, _HEIGHT)
    assert all(is_blank(ground, box) for box in _SLICES)
    assert is_blank(as_jpeg(Ground((250, 246, 240)).draw(_WIDTH, _HEIGHT), 80), _WHOLE)


@pytest.mark.parametrize("width", [63, 200])
@pytest.mark.parametrize("ink", [(0, 0, 0), (255, 0, 255)])
@pytest.mark.parametrize("light_on_dark", [False, True])
def test_strokes_however_wide_are_seen_between_the_ends_of_a_channel(
    width: int, ink: tuple[int, int, int], light_on_dark: bool
) -> None:
    ground = 255 if ink == (0, 0, 0) else 0
    for lying in (False, True):
        picture = np.full((_HEIGHT, _WIDTH, 3), ground, dtype=np.uint8)
        picture[(slice(50, 50 + width),) if lying else (slice(None), slice(50, 50 + width))] = ink
        assert not is_blank(255 - picture if light_on_dark else picture, _WHOLE)


def test_noise_steep_ground_and_ripples_are_not_blank() -> None:
    flat = Ground((200, 200, 200)).draw(_WIDTH, _HEIGHT)
    noisy = flat + np.random.default_rng(0).integers(0, 2, flat.shape, dtype=np.uint8)
    steep = Ground((250, 250, 250), 0.8).draw(_WIDTH, _HEIGHT)
    rippled = flat.copy()
    rippled[:, ::16] += 1
    for picture in (noisy, steep, rippled):
        assert not is_blank(picture, _WHOLE)


def test_blank_slices_are_seen_as_the_first_that_looks_like_them() -> None:
    picture = Ground((250, 250, 250)).draw(_WIDTH, _HEIGHT)
    assert plan_sharing(picture, _WHOLE, _PLAN) == (0,) * 6
    picture[40:60, 20:90] = 0
    assert plan_sharing(picture, _WHOLE, _PLAN) == (0, 1, 1, 1, 1, 1)
    picture[150:] = 30
    assert plan_sharing(picture, _WHOLE, _PLAN) == (0, 1, 1, 3, 3, 3)
    picture[150:] = 246
    assert plan_sharing(picture, _WHOLE, _PLAN) == (0, 1, 1, 1, 1, 1)
    # Padding is no part of the picture.
    padded = np.zeros((_HEIGHT, _WIDTH, 3), dtype=np.uint8)
    padded[:, 13:-13] = 250
    assert plan_sharing(padded, Box(13, 0, _WIDTH - 26, _HEIGHT), _PLAN) == (0,) * 6
    assert plan_sharing(padded, _WHOLE, _PLAN) == (0, 1, 2, 3, 1, 5)
