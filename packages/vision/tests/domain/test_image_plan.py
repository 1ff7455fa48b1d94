"""Tiles cover the image, are seen whole, and are cut where nothing is written."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from shimmy_vision.domain.image.activity import Activity, measure_activity
from shimmy_vision.domain.image.image_plan import FULL_RESOLUTION, REACH, ImagePlan, plan_image
from shimmy_vision.domain.image.slice_grid import EncoderGrid, plan_slices

GRIDS = [EncoderGrid(merge=1), EncoderGrid(merge=4)]
_sizes = st.integers(1, 4500)


def _covers(plan: ImagePlan, width: int, height: int) -> bool:
    seen = np.zeros((height, width), dtype=bool)
    for tile in plan.tiles:
        assert tile.box.x >= 0
        assert tile.box.y >= 0
        assert tile.box.right <= width
        assert tile.box.bottom <= height
        seen[tile.box.y : tile.box.bottom, tile.box.x : tile.box.right] = True
    return bool(seen.all())


@settings(max_examples=120, deadline=None)
@given(_sizes, _sizes, st.sampled_from(GRIDS))
def test_tiles_cover_the_image_at_full_size(width: int, height: int, grid: EncoderGrid) -> None:
    plan = plan_image(width, height, grid, activity=None)
    assert _covers(plan, width, height)
    assert (plan.overview.box.width, plan.overview.box.height) == (width, height)
    if min(width, height) >= 2 * REACH:
        assert all(tile.plan.scale >= FULL_RESOLUTION for tile in plan.tiles)
    if plan.overview.plan.scale >= FULL_RESOLUTION:
        assert plan.tiles == (plan.overview,)


@settings(max_examples=25, deadline=None)
@given(st.integers(1500, 3000), st.integers(1200, 2600), st.integers(0, 2**32 - 1))
def test_tiles_cover_images_with_content(width: int, height: int, seed: int) -> None:
    luma = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    plan = plan_image(width, height, GRIDS[0], activity=Activity(luma))
    assert _covers(plan, width, height)
    assert all(tile.plan.scale >= FULL_RESOLUTION for tile in plan.tiles)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(
    ("size", "tiles"),
    [
        ((1280, 720), 1),
        ((1920, 1080), 2),
        ((3840, 2160), 6),
        ((1200, 30_000), 20),
        ((1, 20_000), 1),
        ((20_000, 1), 1),
    ],
)
def test_usual_sizes_take_few_tiles(grid: EncoderGrid, size: tuple[int, int], tiles: int) -> None:
    assert len(plan_image(*size, grid, activity=None).tiles) == tiles


def _page(width: int, height: int, pitch: int) -> tuple[Image.Image, list[tuple[int, int]]]:
    """A page of text lines and the vertical extent of each."""
    image = Image.new("RGB", (width, height), "white")
    draw, font, lines = ImageDraw.Draw(image), ImageFont.load_default(size=20), []
    for number, y in enumerate(range(10, height - 40, pitch)):
        text = f"Line {number} says something that runs across the page for a while. " * 3
        draw.text((20, y), text[: width // 11], fill="black", font=font)
        box = draw.textbbox((20, y), text[: width // 11], font=font)
        lines.append((int(box[1]), int(box[3])))
    return image, lines


@pytest.mark.parametrize("pitch", [26, 34, 47])
def test_no_line_of_text_is_cut_in_every_tile(pitch: int) -> None:
    image, lines = _page(1240, 3508, pitch)
    plan = plan_image(*image.size, GRIDS[0], activity=measure_activity(np.asarray(image)))
    assert len(plan.tiles) > 1
    for top, bottom in lines:
        holders = [t for t in plan.tiles if t.box.y <= top and bottom <= t.box.bottom]
        assert sum(tile.box.width for tile in holders) >= image.width


def test_cuts_follow_blank_seams() -> None:
    image, lines = _page(1240, 3508, 40)
    plan = plan_image(*image.size, GRIDS[0], activity=measure_activity(np.asarray(image)))
    inner = {tile.box.y for tile in plan.tiles} - {0}
    assert inner
    assert all(not any(top < cut < bottom for top, bottom in lines) for cut in inner)


def _lines_cut_everywhere(
    size: tuple[int, int],
    *,
    background: str = "white",
    colour: str = "black",
    text: str = "A line that is not cut",
    font_size: int = 20,
    pitch: int,
    rules: bool = False,
) -> tuple[list[tuple[int, int]], ImagePlan]:
    """Lines whole in no tile, wherever on the page the first one starts; the last plan."""
    font = ImageFont.load_default(size=font_size)
    cut = []
    plan = None
    for start in range(0, pitch, max(1, pitch // 8)):
        image = Image.new("RGB", size, background)
        draw = ImageDraw.Draw(image)
        if rules:
            for x in (8, size[0] - 8):
                draw.line((x, 0, x, size[1]), fill="#888888", width=2)
        boxes = []
        for y in range(start, size[1] - 2 * font_size, pitch):
            draw.text((60, y), text, fill=colour, font=font)
            boxes.append(draw.textbbox((60, y), text, font=font))
        plan = plan_image(*size, GRIDS[0], activity=measure_activity(np.asarray(image)))
        for left, top, right, bottom in boxes:
            if not any(
                tile.box.x <= left
                and right <= tile.box.right
                and tile.box.y <= top
                and bottom <= tile.box.bottom
                for tile in plan.tiles
            ):
                cut.append((start, int(top)))
    assert plan is not None
    assert len(plan.tiles) > 1
    return cut, plan


def test_lines_of_faint_text_are_not_cut() -> None:
    assert _lines_cut_everywhere((1240, 1754), colour="#e6e6e6", pitch=31)[0] == []


def test_lines_as_bright_as_their_background_are_not_cut() -> None:
    found = _lines_cut_everywhere((1240, 1754), background="#4c4c4c", colour="#ff0000", pitch=31)
    assert found[0] == []


def test_headings_taller_than_the_overlap_are_not_cut() -> None:
    size = (1200, 6000)
    assert _lines_cut_everywhere(size, text="Heading", font_size=100, pitch=130)[0] == []


def test_lines_of_large_prints_are_not_cut() -> None:
    assert _lines_cut_everywhere((4960, 7016), font_size=96, pitch=115)[0] == []


def test_short_labels_on_wide_screens_are_not_cut() -> None:
    """A handful of edges in a row of 3840 pixels is a label, not a border."""
    assert _lines_cut_everywhere((3840, 2160), text="il", pitch=26)[0] == []


def test_borders_running_past_a_cut_do_not_hide_its_seam() -> None:
    cut, plan = _lines_cut_everywhere((1240, 1754), pitch=31, rules=True)
    assert cut == []
    first, second = plan.tiles
    assert first.box.bottom == second.box.y


def test_a_cut_between_columns_does_not_pass_between_two_words() -> None:
    """Equal lines have their word gaps below each other; that is no gap between columns."""
    image = Image.new("RGB", (3840, 2160), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=28)
    for y in range(10, 2100, 45):
        draw.text((20, y), "words and words " * 16, fill="black", font=font)
    plan = plan_image(*image.size, GRIDS[0], activity=measure_activity(np.asarray(image)))
    inner = sorted({tile.box.x for tile in plan.tiles} - {0})
    assert inner
    for start in inner:
        assert any(tile.box.x < start < tile.box.right for tile in plan.tiles)


def test_small_images_are_stretched_to_one_slice() -> None:
    plan = plan_slices(100, 40, GRIDS[0])
    assert (plan.encodes, plan.overview_size, plan.refined_size) == (1, (448, 448), None)


def test_planning_a_large_image_is_quick() -> None:
    import time

    luma = np.zeros((4320, 7680), dtype=np.uint8)
    started = time.process_time()
    plan_image(7680, 4320, GRIDS[0], activity=Activity(luma))
    assert time.process_time() - started < 2.0  # forty milliseconds on an idle core
