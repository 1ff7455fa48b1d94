"""The result a caller receives, put together from answers and measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from shimmy_vision.domain.answer.analysis_plan import AnswerKind
from shimmy_vision.domain.image.image_plan import FULL_RESOLUTION, ImagePlan, Tile
from shimmy_vision.domain.image.pixels import Box
from shimmy_vision.domain.image.slice_sharing import SliceCount
from shimmy_vision.domain.image.text_merge import ReadText, merge_tile_texts
from shimmy_vision.domain.measure.contrast import Contrast
from shimmy_vision.domain.measure.measurements import Measurements

Json: TypeAlias = dict[str, Any]

_WITH_TEXT: tuple[AnswerKind, ...] = ("full", "text")


@dataclass(frozen=True, slots=True)
class Answered:
    """One parsed answer about one tile."""

    kind: AnswerKind
    tile: Tile
    value: Any
    confidences: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Warning_:  # noqa: N801 - `Warning` is a builtin exception
    """Something the caller should know although the result is valid."""

    code: str
    message: str


def collect_texts(answers: Sequence[Answered]) -> list[ReadText]:
    """What the model read, tile by tile, each line once."""
    texts = [answer for answer in answers if answer.kind in _WITH_TEXT]
    return merge_tile_texts([(answer.tile, _read_texts(answer)) for answer in texts])


def assemble_result(
    answers: Sequence[Answered], texts: Sequence[ReadText], measured: Measurements, meta: Json
) -> Json:
    """The keys each kind of answer contributes, then ``meta`` last.

    ``texts`` are those of ``collect_texts``, or what became of them beside a PDF's own text.
    """
    result: Json = {}
    if any(answer.kind in _WITH_TEXT for answer in answers):
        result["text_blocks"] = [_text_block(text) for text in texts]
    for answer in answers:
        match answer.kind:
            case "full" | "scene":
                result["layout"] = _layout(answer, measured)
                result["visual"] = _visual(answer, measured)
                result["interaction"] = answer.value["interaction"]
            case "layout":
                result["layout"] = _layout(answer, measured)
            case "brief":
                result["visual"] = _visual(answer, measured)
            case "custom":
                result["answer"] = answer.value
            case "text":
                pass
    result["meta"] = meta
    return result


def box_json(box: Box) -> Json:
    """A box as it stands in a result."""
    return {"x": box.x, "y": box.y, "width": box.width, "height": box.height}


def image_json(plan: ImagePlan, answers: Sequence[Answered], slices: SliceCount) -> Json:
    """``seen``, ``scale``, ``slices`` and ``tiles`` of ``meta.image``: what the answers saw."""
    distinct = list(dict.fromkeys(answer.tile for answer in answers))
    scale = min(tile.plan.scale for tile in distinct)
    width, height = plan.overview.box.width, plan.overview.box.height
    return {
        "seen": {"width": max(1, round(width * scale)), "height": max(1, round(height * scale))},
        "scale": round(scale, 4),
        "slices": asdict(slices),
        "tiles": [_tile_json(tile) for tile in distinct],
    }


def scale_warnings(plan: ImagePlan, answers: Sequence[Answered]) -> tuple[Warning_, ...]:
    """One warning when an answer was judged from fewer pixels than the image has; none where more

    were not needed.
    """
    worst = min((answer.tile.plan.scale for answer in answers), default=1.0)
    if max(worst, plan.overview.plan.scale) >= FULL_RESOLUTION:
        return ()
    kinds = sorted({a.kind for a in answers if a.tile.plan.scale < FULL_RESOLUTION})
    return (
        Warning_(
            "image-downscaled",
            f"The image is larger than the encoder's grid: {', '.join(kinds)} judged from it at "
            f"{worst:.0%} of its size. Text blocks are read tile by tile at full size.",
        ),
    )


def _tile_json(tile: Tile) -> Json:
    seen = tile.plan.refined_size or tile.plan.overview_size
    return {
        "box": box_json(tile.box),
        "seen": {"width": seen[0], "height": seen[1]},
        "scale": round(tile.plan.scale, 4),
        "slices": tile.plan.encodes,
    }


def _text_block(read: ReadText) -> Json:
    return {
        "text": read.text,
        "confidence": read.confidence,
        "box": box_json(read.box),
        "source": read.source,
    }


def _read_texts(answer: Answered) -> list[ReadText]:
    blocks = answer.value["text_blocks"]
    return [
        ReadText(block["text"], confidence, answer.tile.box)
        for block, confidence in zip(blocks, answer.confidences, strict=True)
        if block["text"].strip()
    ]


def _layout(answer: Answered, measured: Measurements) -> Json:
    box = box_json(answer.tile.box)
    layout = answer.value["layout"]
    return {
        "theme": measured.theme,
        "regions": [{**region, "box": box} for region in layout["regions"]],
        "key_ui_elements": [{**element, "box": box} for element in layout["key_ui_elements"]],
    }


def _visual(answer: Answered, measured: Measurements) -> Json:
    return {
        "background": measured.palette.background,
        "accent_colors": list(measured.palette.accent_colors),
        "contrast": _contrast(measured.contrast),
        "description": answer.value["visual"]["description"],
    }


def _contrast(contrast: Contrast) -> Json:
    return {
        "ratio": round(contrast.ratio, 2),
        "compliant": contrast.compliant,
        "issues": [
            {
                "box": box_json(issue.box),
                "foreground": issue.foreground,
                "background": issue.background,
                "ratio": round(issue.ratio, 2),
                "required": issue.required,
            }
            for issue in contrast.issues
        ],
    }
