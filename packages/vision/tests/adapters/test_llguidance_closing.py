"""Whatever is cut is closed: valid JSON, valid under the schema."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shimmy_vision.adapters.llguidance_grammar import LlguidanceSchemas
from shimmy_vision.domain.answer import answer_schemas
from shimmy_vision.domain.answer.json_closing import trim_partial_character
from shimmy_vision.errors import SchemaError

SCHEMAS = LlguidanceSchemas()

_OWN = {
    "full": answer_schemas.FULL_ANSWER,
    "scene": answer_schemas.SCENE_ANSWER,
    "text": answer_schemas.TEXT_ANSWER,
    "layout": answer_schemas.LAYOUT_ANSWER,
    "brief": answer_schemas.BRIEF_ANSWER,
    "free": answer_schemas.FREE_ANSWER,
}

# The grammar writes DEL (0x7f) in no form, so an answer cannot hold it.
_words = st.text(st.characters(codec="utf-8", exclude_characters="\x7f"), max_size=12)
_full_answers = st.fixed_dictionaries(
    {
        "text_blocks": st.lists(st.fixed_dictionaries({"text": _words}), max_size=3),
        "layout": st.fixed_dictionaries(
            {
                "regions": st.lists(
                    st.fixed_dictionaries({"name": _words, "description": _words}), max_size=2
                ),
                "key_ui_elements": st.lists(
                    st.fixed_dictionaries(
                        {
                            "name": _words,
                            "element_type": st.sampled_from(answer_schemas.ELEMENT_TYPES),
                        }
                    ),
                    max_size=2,
                ),
            }
        ),
        "visual": st.fixed_dictionaries({"description": _words}),
        "interaction": st.fixed_dictionaries({"description": _words}),
    }
)


def _in_schema_order(value: Any, schema: dict[str, Any]) -> Any:
    """The order in which the grammar writes: that of the schema's properties."""
    match value:
        case dict():
            properties = schema["properties"]
            return {k: _in_schema_order(value[k], properties[k]) for k in properties}
        case list():
            return [_in_schema_order(item, schema["items"]) for item in value]
        case _:
            return value


def _compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


@given(_full_answers, st.data())
def test_a_full_answer_cut_at_any_byte_closes(answer: Any, data: st.DataObject) -> None:
    text = _compact(_in_schema_order(answer, answer_schemas.FULL_ANSWER))
    cut = data.draw(st.integers(0, len(text)))
    closed = SCHEMAS.close(answer_schemas.FULL_ANSWER, text[:cut])
    jsonschema.validate(json.loads(closed), answer_schemas.FULL_ANSWER)
    assert closed.startswith(trim_partial_character(text[:cut]))


@pytest.mark.parametrize("name", _OWN)
def test_every_schema_of_ours_closes_from_nothing(name: str) -> None:
    jsonschema.validate(json.loads(SCHEMAS.close(_OWN[name], b"")), _OWN[name])


_leaves: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({"type": "string"}),
    st.builds(lambda n: {"type": "string", "minLength": n, "maxLength": n + 3}, st.integers(0, 9)),
    st.sampled_from(
        [
            {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
            {"type": "string", "pattern": "^(ab)*c+$"},
            {"type": "string", "format": "date"},
            {"type": "string", "format": "uuid"},
            {"type": "boolean"},
            {"type": "null"},
            {"type": "integer"},
            {"type": "number"},
            {"const": "exactly this"},
            {"enum": ["a", "ab", 1, None, True]},
            {"type": ["string", "null"]},
        ]
    ),
    st.builds(
        lambda low, span: {"type": "integer", "minimum": low, "maximum": low + span},
        st.integers(-999, 999),
        st.integers(0, 50),
    ),
)
_schemas = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.builds(
            lambda item, low, span: {
                "type": "array",
                "items": item,
                "minItems": low,
                "maxItems": low + span,
            },
            inner,
            st.integers(0, 4),
            st.integers(0, 3),
        ),
        st.dictionaries(st.sampled_from("abcdef"), inner, max_size=3).map(
            lambda properties: {
                "type": "object",
                "properties": properties,
                "required": sorted(properties)[::2],
                "additionalProperties": False,
            }
        ),
        st.lists(inner, min_size=1, max_size=2).map(lambda options: {"anyOf": options}),
    ),
    max_leaves=6,
)


@settings(max_examples=150)
@given(_schemas, st.data())
def test_any_schema_closes_from_any_cut(schema: dict[str, Any], data: st.DataObject) -> None:
    try:
        SCHEMAS.check(schema)
    except SchemaError as refused:
        assert refused.code in ("schema-unsupported", "schema-unsatisfiable")
        return
    whole = SCHEMAS.close(schema, b"")
    jsonschema.validate(json.loads(whole), schema)
    cut = data.draw(st.integers(0, len(whole)))
    jsonschema.validate(json.loads(SCHEMAS.close(schema, whole[:cut])), schema)


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"not": {"type": "string"}}, "not"),
        ({"type": "string", "format": "hat-size"}, "hat-size"),
        ({"type": "strin"}, "strin"),
        ({"type": "string", "pattern": "^(?=a)b$"}, "look-ahead"),
        ({"$ref": "https://example.com/other.json"}, "example.com"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "minimum (5)"),
    ],
)
def test_what_cannot_be_honoured_is_named(schema: dict[str, Any], named: str) -> None:
    with pytest.raises(SchemaError) as refused:
        SCHEMAS.check(schema)
    assert named in refused.value.message


def test_endless_schemas_are_refused() -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}
    with pytest.raises(SchemaError) as refused:
        SCHEMAS.check(schema)
    assert refused.value.code == "schema-unsatisfiable"


@pytest.mark.parametrize(
    ("cut", "kept"),
    [
        (b'{"a":"x\xc3', b'{"a":"x'),
        (b'{"a":"x\\', b'{"a":"x'),
        (b'{"a":"x\\u00', b'{"a":"x'),
        (b'{"a":"x\\\\', b'{"a":"x\\\\'),
        (b'{"a":"x\\n', b'{"a":"x\\n'),
        (b'{"a":"x\\u000a', b'{"a":"x\\u000a'),
        (b"", b""),
    ],
)
def test_half_characters_are_dropped(cut: bytes, kept: bytes) -> None:
    assert trim_partial_character(cut) == kept
