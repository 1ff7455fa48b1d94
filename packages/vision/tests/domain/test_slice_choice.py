"""Which slices an answer needs: of a brief description the overview, of a blank tile nothing."""

from __future__ import annotations

import pytest

from shimmy_vision.domain.answer.analysis_plan import AnswerPass, plan_passes
from shimmy_vision.domain.answer.analysis_request import (
    MODES,
    CustomQuestion,
    Question,
    StandardQuestion,
)
from shimmy_vision.domain.answer.result import Answered, image_json, scale_warnings
from shimmy_vision.domain.image.image_plan import ImagePlan, Tile, plan_image
from shimmy_vision.domain.image.slice_grid import EncoderGrid
from shimmy_vision.domain.image.slice_sharing import SliceCount

GRID = EncoderGrid(merge=4)
FITS = plan_image(1280, 720, GRID, activity=None)
LARGE = plan_image(3840, 2160, GRID, activity=None)
SMALL = plan_image(300, 200, GRID, activity=None)


def _passes(
    plan: ImagePlan, question: Question, blank: tuple[Tile, ...] = ()
) -> tuple[AnswerPass, ...]:
    return plan_passes(question, plan, None, "auto", lambda tile: tile in blank)


def _seen(passes: tuple[AnswerPass, ...]) -> list[Answered]:
    return [Answered(one.kind, one.tile, {}, ()) for one in passes]


def test_a_brief_description_is_given_the_overview_alone() -> None:
    (one,) = _passes(FITS, StandardQuestion("brief"))
    assert (one.view, one.tile.plan.encodes, one.tile.box) == ("overview", 1, FITS.overview.box)
    told = image_json(FITS, _seen((one,)), SliceCount(7, 1, 0, 6))
    assert told["seen"] == {"width": 597, "height": 336}
    assert told["scale"] == pytest.approx(336 / 720, abs=1e-4)
    assert told["slices"] == {"planned": 7, "encoded": 1, "reused": 0, "skipped": 6}
    assert told["tiles"][0]["slices"] == 1
    (small,) = _passes(SMALL, StandardQuestion("brief"))
    assert (small.view, small.tile) == ("sparing", SMALL.overview)


def test_only_what_could_not_be_seen_larger_is_warned_of() -> None:
    for plan, warned in ((FITS, False), (SMALL, False), (LARGE, True)):
        seen = _seen(_passes(plan, StandardQuestion("brief")))
        assert bool(scale_warnings(plan, seen)) == warned


@pytest.mark.parametrize("question", [*map(StandardQuestion, MODES), CustomQuestion("what?")])
def test_who_wants_all_slices_has_every_one_looked_at(question: Question) -> None:
    for plan in (FITS, LARGE):
        passes = plan_passes(question, plan, None, "all", lambda _tile: True)
        assert {(one.view, one.blank) for one in passes} == {("whole", False)}
        assert {one.tile for one in passes} <= {plan.overview, *plan.tiles}


@pytest.mark.parametrize("mode", ["full", "layout"])
def test_other_answers_see_every_slice_that_is_not_blank(mode: str) -> None:
    passes = _passes(FITS, StandardQuestion(mode))  # type: ignore[arg-type]
    assert [(one.view, one.tile, one.blank) for one in passes] == [
        ("sparing", FITS.overview, False)
    ]


def test_no_text_is_asked_of_a_blank_tile() -> None:
    blank = LARGE.tiles[:2]
    ocr = _passes(LARGE, StandardQuestion("ocr"), blank)
    assert [one.tile for one in ocr if one.blank] == list(blank)
    assert [one.tile for one in ocr] == list(LARGE.tiles)
    scene, *texts = _passes(LARGE, StandardQuestion("full"), (LARGE.overview, *blank))
    assert not scene.blank
    assert [one.tile for one in texts if one.blank] == list(blank)
