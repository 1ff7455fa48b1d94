"""The published JSON Schema of a result, one shape a mode."""

from __future__ import annotations

from typing import Any, TypeAlias, assert_never

from shimmy_vision.domain.answer.analysis_request import (
    ChatQuestion,
    CustomQuestion,
    Mode,
    Question,
    StandardQuestion,
)
from shimmy_vision.domain.answer.answer_schemas import ELEMENT_TYPES

Schema: TypeAlias = dict[str, Any]

_COLOUR: Schema = {"type": "string", "pattern": "^#[0-9a-f]{6}$"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_SIZE: Schema = {"type": "integer", "minimum": 1}
_MILLISECONDS: Schema = {"type": "number", "minimum": 0}
_TEXT: Schema = {"type": "string"}


def _record(optional: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _described(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


_BOX = _described(
    _record(x=_COUNT, y=_COUNT, width=_SIZE, height=_SIZE),
    "Pixels of the original image after EXIF orientation; origin top left.",
)
_TILE_BOX = _described(_BOX, "The tile of the original image in which this was read, in pixels.")

_TEXT_BLOCKS = _list(
    _record(
        ("box",),
        text=_TEXT,
        confidence=_described(
            {"type": "number", "minimum": 0, "maximum": 1},
            "Geometric mean of the model's own probabilities for the text's tokens; 1 for a PDF's "
            "own text.",
        ),
        box=_described(
            _BOX,
            "The tile of the original image in which this was read, in pixels; for a PDF's own "
            "text what it covers on the rendered page.",
        ),
        source=_described(
            {"enum": ["model", "pdf"]}, "Read by the model, or the PDF's own text as it stands."
        ),
    )
)
_WHERE = {
    "selector": _described(_TEXT, "A CSS selector that finds this element and no other."),
    "roots": _described(
        _list(_record(kind={"enum": ["frame", "shadow"]}, selector=_TEXT)),
        "Where the selector holds inside frames or shadow trees: the way there, outermost first.",
    ),
}
_RATIO: Schema = {"type": "number", "minimum": 1, "maximum": 21}
_DOM_MAP = _described(
    _list(
        _record(
            ("roots",),
            tag=_TEXT,
            role=_described(_TEXT, "As assistive technology gets it."),
            name=_described(_TEXT, "As assistive technology gets it."),
            text=_described(_TEXT, "What is written in it."),
            **_WHERE,
            box=_BOX,
            attributes={"type": "object", "additionalProperties": _TEXT},
            foreground=_or_null(_COLOUR),
            background=_or_null(_COLOUR),
            contrast=_or_null(_RATIO),
            compliant=_described(
                _or_null({"type": "boolean"}),
                "Whether the contrast is what WCAG 2 AA asks for text of its size; null where "
                "unknown or nothing is asked.",
            ),
        )
    ),
    "Only for a web page: its visible interactive elements, from the document itself.",
)
_LAYOUT = _record(
    theme=_described({"enum": ["light", "dark", "mixed"]}, "Measured from the pixels."),
    regions=_list(_record(("box",), name=_TEXT, description=_TEXT, box=_TILE_BOX)),
    key_ui_elements=_list(
        _record(
            ("box", "source", "selector", "roots"),
            name=_TEXT,
            element_type={"enum": list(ELEMENT_TYPES)},
            box=_described(_BOX, "As of regions; where source is dom, the element itself."),
            source=_described(
                {"enum": ["model", "dom"]},
                "Of web pages only: seen by the model alone, or found in the page too.",
            ),
            **_WHERE,
        )
    ),
)
_VISUAL = _record(
    background=_described(_COLOUR, "Measured: the dominant background colour."),
    accent_colors=_described(_list(_COLOUR), "Measured, largest share first."),
    contrast=_described(
        _record(
            ratio={"type": "number", "minimum": 1, "maximum": 21},
            compliant={"type": "boolean"},
            issues=_list(
                _record(
                    box=_BOX,
                    foreground=_COLOUR,
                    background=_COLOUR,
                    ratio={"type": "number", "minimum": 1, "maximum": 21},
                    required={"type": "number"},
                )
            ),
        ),
        "Measured: WCAG 2 contrast of text-like areas; the ratio is the lowest found.",
    ),
    description=_TEXT,
)
_INTERACTION = _record(description=_TEXT)

_TILE = _record(
    box=_BOX,
    seen=_described(_record(width=_SIZE, height=_SIZE), "Size at which the encoder sees it."),
    scale={"type": "number", "exclusiveMinimum": 0},
    slices=_SIZE,
)
_META = _record(
    ("document", "page", "raw"),
    model=_record(
        family={"enum": ["2.6", "4.0", "4.5", "4.6"]},
        name=_TEXT,
        synthetic=_described({"type": "boolean"}, "True: random weights, for tests only."),
        main_sha256=_TEXT,
        projector_sha256=_TEXT,
    ),
    backend=_record(
        name=_TEXT,
        build=_TEXT,
        device=_TEXT,
        threads=_SIZE,
        encoder=_described(_TEXT, "What encoded the image's slices, and in which precision."),
    ),
    licence=_TEXT,
    mode={"enum": ["full", "ocr", "layout", "brief", "custom"]},
    duration_ms=_MILLISECONDS,
    timings=_record(
        fetch_ms=_MILLISECONDS,
        decode_ms=_MILLISECONDS,
        measure_ms=_MILLISECONDS,
        load_ms=_MILLISECONDS,
        encode_ms=_MILLISECONDS,
        prompt_ms=_MILLISECONDS,
        generate_ms=_MILLISECONDS,
    ),
    cache=_described(
        _record(
            result=_described(
                {"type": "boolean"}, "This very result was kept from before; its page counts once."
            ),
            encodings=_described(_COUNT, "Tiles of the image that were encoded before."),
            states=_described(_COUNT, "Answers begun from a state that the model was in before."),
        ),
        "What need not be done again.",
    ),
    tokens=_record(
        prompt=_COUNT,
        image=_COUNT,
        generated=_COUNT,
        forced=_described(_COUNT, "Of the generated ones, those the schema dictated."),
        forward_passes=_described(_COUNT, "Decoder calls spent on the generated tokens."),
    ),
    image=_record(
        format=_TEXT,
        width=_SIZE,
        height=_SIZE,
        notes=_list(_TEXT),
        seen=_described(
            _record(width=_SIZE, height=_SIZE), "Size of the whole image as text was read."
        ),
        scale=_described(
            {"type": "number", "exclusiveMinimum": 0},
            "Smallest scale at which the answers saw the image; under 1 means details were lost.",
        ),
        slices=_described(
            _record(
                planned=_described(_COUNT, "Of all tiles, their overviews included."),
                encoded=_described(_COUNT, "Those that the encoder ran for."),
                reused=_described(_COUNT, "Those of the very pixels of one encoded before."),
                skipped=_described(
                    _COUNT, "Blank ones, and those that a brief description does without."
                ),
            ),
            "What became of the slices; planned is the sum of the others.",
        ),
        tiles=_list(_TILE),
    ),
    document=_described(
        _record(
            ("text_layer",),
            page=_described(_SIZE, "Counted from 1."),
            pages=_described(_SIZE, "Pages of the document."),
            dpi=_described(_SIZE, "Dots per inch at which the page was rendered."),
            text_layer=_described(
                {"enum": ["used", "absent", "unreadable"]},
                "What became of the page's own text, where text blocks are asked for.",
            ),
        ),
        "Only for a page of a document; boxes are in pixels of its rendering.",
    ),
    page=_described(
        _record(
            url=_described(_TEXT, "Where the page was found in the end; without credentials."),
            title=_TEXT,
            status=_described(_or_null({"type": "integer"}), "The HTTP status it came with."),
            viewport=_described(
                _record(
                    width=_SIZE,
                    height=_SIZE,
                    device_scale={"type": "number", "exclusiveMinimum": 0},
                ),
                "In CSS pixels; device_scale pixels of the picture are one of them.",
            ),
            full_page=_described({"type": "boolean"}, "False: what the viewport shows first."),
            notes=_described(_list(_TEXT), "What was cut, refused or given up, in words."),
        ),
        "Only for a web page; boxes are in pixels of its picture.",
    ),
    warnings=_list(_record(code=_TEXT, message=_TEXT)),
    raw=_described(_list(_TEXT), "The model's own words, with --raw."),
)


def result_schema(question: Question) -> Schema:
    """JSON Schema (draft 2020-12) of the result of ``question``."""
    match question:
        case CustomQuestion(schema=schema):
            title, parts = "custom", {"answer": _embedded(schema or None)}
        case ChatQuestion(schema=schema):
            title, parts = "custom", {"answer": _embedded(schema)}
        case StandardQuestion(mode=mode):
            title, parts = mode, _parts(mode)
        case _:
            assert_never(question)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Shimmy Vision result, mode {title}",
        **_record(("dom_map",), **parts, dom_map=_DOM_MAP, meta=_META),
    }


def _embedded(schema: Schema | None) -> Schema:
    """A caller's schema as a part of another: what it refers to stays inside it."""
    if schema is None:
        return _TEXT
    return (
        {"$id": "urn:shimmy:answer", **schema} if {"$defs", "definitions"} & set(schema) else schema
    )


def _parts(mode: Mode) -> dict[str, Schema]:
    match mode:
        case "full":
            return {
                "text_blocks": _TEXT_BLOCKS,
                "layout": _LAYOUT,
                "visual": _VISUAL,
                "interaction": _INTERACTION,
            }
        case "ocr":
            return {"text_blocks": _TEXT_BLOCKS}
        case "layout":
            return {"layout": _LAYOUT}
        case "brief":
            return {"visual": _VISUAL}
        case _:
            assert_never(mode)
