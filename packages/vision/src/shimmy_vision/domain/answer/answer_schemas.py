"""The JSON Schemas the model itself answers under: only what cannot be measured.

Arrays and strings are bounded because a language model that repeats itself would
otherwise fill the whole token budget; the bounds are far above what one tile holds.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Schema: TypeAlias = dict[str, Any]

ELEMENT_TYPES = (
    "button", "link", "input", "checkbox", "radio", "toggle", "select", "slider", "tab",
    "menu", "icon", "image", "table", "list", "card", "dialog", "navigation", "other",
)  # fmt: skip


def _text(longest: int) -> Schema:
    return {"type": "string", "maxLength": longest}


def _record(**properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(item: Schema, longest: int) -> Schema:
    return {"type": "array", "items": item, "maxItems": longest}


TEXT_BLOCKS = _list(_record(text=_text(600)), 200)
LAYOUT = _record(
    regions=_list(_record(name=_text(60), description=_text(300)), 24),
    key_ui_elements=_list(_record(name=_text(80), element_type={"enum": list(ELEMENT_TYPES)}), 60),
)
DESCRIPTION = _record(description=_text(800))

FULL_ANSWER = _record(
    text_blocks=TEXT_BLOCKS, layout=LAYOUT, visual=DESCRIPTION, interaction=DESCRIPTION
)
SCENE_ANSWER = _record(layout=LAYOUT, visual=DESCRIPTION, interaction=DESCRIPTION)
TEXT_ANSWER = _record(text_blocks=TEXT_BLOCKS)
LAYOUT_ANSWER = _record(layout=LAYOUT)
BRIEF_ANSWER = _record(visual=DESCRIPTION)
FREE_ANSWER: Schema = {"type": "string", "maxLength": 8000}
# Bounded by tokens alone, so that a reply that is cut is always known to be.
CHAT_ANSWER: Schema = {"type": "string"}
