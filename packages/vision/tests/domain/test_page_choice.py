"""Which pages are asked for, and how sharp they are rendered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shimmy_vision.domain.answer.page_ranges import (
    EVERY_PAGE,
    PageRange,
    choose_pages,
    parse_pages,
)
from shimmy_vision.domain.image.image_plan import FULL_RESOLUTION
from shimmy_vision.domain.image.page_scale import (
    COARSEST,
    LARGE_PAGE,
    LEAST_READABLE,
    SHARPEST,
    PageSize,
    PixelLimits,
    choose_dpi,
    size_in_pixels,
)
from shimmy_vision.domain.image.slice_grid import EncoderGrid, plan_slices
from shimmy_vision.errors import ImageError, UsageError

GRIDS = [EncoderGrid(merge=1), EncoderGrid(merge=4)]
LIMITS = PixelLimits(30_000, 80_000_000)
A4, A3, CARD = PageSize(595, 842), PageSize(842, 1191), PageSize(240, 155)


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("1-3,7,10-", (1, 2, 3, 7, 10, 11, 12)),
        ("2", (2,)),
        (" 2 - 4 , 4 ", (2, 3, 4)),
        ("12,1", (12, 1)),
        ("1-", tuple(range(1, 13))),
        ("3-3,1-4", (3, 1, 2, 4)),
    ],
)
def test_ranges_are_read_in_order_and_each_page_once(text: str, chosen: tuple[int, ...]) -> None:
    assert choose_pages(parse_pages(text), 12) == chosen


@pytest.mark.parametrize("text", ["", "0", "-3", "3-1", "1,,2", "a", "1-2-3", "1.5", "²", "1" * 30])
def test_what_names_no_pages_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_pages(text)
    assert refused.value.code == "pages-malformed"
    assert refused.value.hint


@pytest.mark.parametrize("text", ["13", "13-", "2-13", "1,99"])
def test_a_page_that_is_not_there_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="the document has 12") as refused:
        choose_pages(parse_pages(text), 12)
    assert refused.value.code == "page-out-of-range"


@given(
    st.integers(1, 60),
    st.lists(st.tuples(st.integers(1, 60), st.none() | st.integers(1, 60)), min_size=1),
)
def test_any_ranges_choose_existing_pages_once(
    count: int, parts: list[tuple[int, int | None]]
) -> None:
    ranges = [PageRange(first, last) for first, last in parts if last is None or last >= first]
    text = ",".join(f"{one.first}-{one.last or ''}" for one in ranges)
    if not ranges or any(max(one.first, one.last or 1) > count for one in ranges):
        return
    chosen = choose_pages(parse_pages(text), count)
    assert len(set(chosen)) == len(chosen)
    wanted = {n for one in ranges for n in range(one.first, (one.last or count) + 1)}
    assert set(chosen) == wanted
    assert choose_pages(EVERY_PAGE, count) == tuple(range(1, count + 1))


@pytest.mark.parametrize("grid", GRIDS)
def test_a_usual_page_is_as_sharp_as_the_encoder_sees_in_one_piece(grid: EncoderGrid) -> None:
    for size in (A4, PageSize(612, 792), PageSize(842, 595), PageSize(420, 595)):
        dpi = choose_dpi(size, grid, LIMITS)
        assert LEAST_READABLE <= dpi <= SHARPEST
        assert plan_slices(*size_in_pixels(size, dpi), grid).scale >= FULL_RESOLUTION
        if dpi < SHARPEST:
            more = plan_slices(*size_in_pixels(size, dpi + 1), grid)
            assert more.scale < FULL_RESOLUTION
    assert choose_dpi(CARD, grid, LIMITS) == SHARPEST


@pytest.mark.parametrize("grid", GRIDS)
def test_a_large_page_is_as_sharp_as_a_usual_one(grid: EncoderGrid) -> None:
    assert choose_dpi(A3, grid, LIMITS) == LARGE_PAGE
    assert abs(choose_dpi(A4, grid, LIMITS) - LARGE_PAGE) <= 4


def test_the_callers_dpi_stands_within_the_limits() -> None:
    assert choose_dpi(A4, GRIDS[0], LIMITS, 400) == 400
    assert choose_dpi(A4, GRIDS[0], LIMITS, 1) == 1
    with pytest.raises(ImageError, match="At 5000 dpi") as refused:
        choose_dpi(A4, GRIDS[0], LIMITS, 5000)
    assert refused.value.code == "page-too-large"
    limit = int(refused.value.hint.split()[3])
    assert choose_dpi(A4, GRIDS[0], LIMITS, limit) == limit
    with pytest.raises(ImageError):
        choose_dpi(A4, GRIDS[0], LIMITS, limit + 1)


@given(st.floats(0.01, 1e8), st.floats(0.01, 1e8))
def test_no_page_is_rendered_beyond_the_limits(width: float, height: float) -> None:
    size = PageSize(width, height)
    try:
        dpi = choose_dpi(size, GRIDS[0], LIMITS)
    except ImageError as error:
        assert error.code == "page-too-large"
        across, down = size_in_pixels(size, COARSEST)
        assert max(across, down) > 30_000 or across * down > 80_000_000
        return
    across, down = size_in_pixels(size, dpi)
    assert COARSEST <= dpi <= SHARPEST
    assert max(across, down) <= 30_000
    assert across * down <= 80_000_000
