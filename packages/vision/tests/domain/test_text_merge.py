"""Lines read in two overlapping tiles appear once; equal lines elsewhere stay."""

from __future__ import annotations

from shimmy_vision.domain.image.image_plan import Tile
from shimmy_vision.domain.image.pixels import Box
from shimmy_vision.domain.image.slice_grid import EncoderGrid, plan_slices
from shimmy_vision.domain.image.text_merge import ReadText, merge_tile_texts


def _tile(x: int, y: int, width: int = 100, height: int = 100) -> Tile:
    return Tile(Box(x, y, width, height), plan_slices(width, height, EncoderGrid()))


def _read(tile: Tile, *texts: str) -> tuple[Tile, list[ReadText]]:
    return tile, [ReadText(text, 0.9, tile.box) for text in texts]


def _texts(*tiles: tuple[Tile, list[ReadText]]) -> list[str]:
    return [read.text for read in merge_tile_texts(tiles)]


def test_a_line_in_the_overlap_appears_once() -> None:
    assert _texts(_read(_tile(0, 0), "a", "Total due"), _read(_tile(0, 80), "total  due", "b")) == [
        "a",
        "Total due",
        "b",
    ]


def test_a_line_cut_in_one_tile_is_kept_whole() -> None:
    assert _texts(_read(_tile(0, 0), "Invoice numb"), _read(_tile(80, 0), "Invoice number 7")) == [
        "Invoice number 7"
    ]
    assert _texts(_read(_tile(0, 0), "Invoice number 7"), _read(_tile(80, 0), "number 7")) == [
        "Invoice number 7"
    ]


def test_equal_lines_in_tiles_that_only_touch_both_stay() -> None:
    assert _texts(_read(_tile(0, 0), "OK"), _read(_tile(0, 100), "OK")) == ["OK", "OK"]


def test_repetitions_are_used_up_one_by_one() -> None:
    assert _texts(_read(_tile(0, 0), "OK", "OK"), _read(_tile(0, 80), "OK", "OK", "OK")) == [
        "OK",
        "OK",
        "OK",
    ]


def test_short_remnants_do_not_swallow_other_lines() -> None:
    assert _texts(_read(_tile(0, 0), "a"), _read(_tile(0, 80), "all of it")) == ["a", "all of it"]


def test_tiles_one_above_the_other_share_no_cut_lines() -> None:
    assert _texts(_read(_tile(0, 0), "Total"), _read(_tile(0, 80), "Total due 45")) == [
        "Total",
        "Total due 45",
    ]


def test_only_the_end_towards_the_cut_can_be_missing() -> None:
    assert _texts(_read(_tile(0, 0), "Save as"), _read(_tile(80, 0), "Save")) == ["Save as", "Save"]
    assert _texts(_read(_tile(80, 0), "Save"), _read(_tile(0, 0), "Save as")) == ["Save", "Save as"]
    assert _texts(_read(_tile(80, 0), "number 7"), _read(_tile(0, 0), "Invoice number 7")) == [
        "Invoice number 7"
    ]
