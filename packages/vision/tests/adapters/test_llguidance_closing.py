"""Whatever is cut is closed: valid JSON, valid under the schema."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shimmy_vision.adapters.engine import llguidance_grammar
from shimmy_vision.adapters.engine.llguidance_grammar import LlguidanceSchemas
from shimmy_vision.domain.answer import answer_schemas
from shimmy_vision.domain.answer.json_closing import trim_partial_character
from shimmy_vision.errors import OutputError, SchemaError, StoppedError
from shimmy_vision.ports.cancellation import Cancellation

SCHEMAS = LlguidanceSchemas()
ANY = Cancellation()


@pytest.fixture(scope="module", autouse=True)
def patient() -> Iterator[None]:
    """What closes within tenths of a second takes seconds where others use the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(llguidance_grammar, "_CLOSE_SECONDS", 60.0)
        yield


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
    closed = SCHEMAS.close(answer_schemas.FULL_ANSWER, text[:cut], ANY)
    jsonschema.validate(json.loads(closed), answer_schemas.FULL_ANSWER)
    assert closed.startswith(trim_partial_character(text[:cut]))


@pytest.mark.parametrize("name", _OWN)
def test_every_schema_of_ours_closes_from_nothing(name: str) -> None:
    jsonschema.validate(json.loads(SCHEMAS.close(_OWN[name], b"", ANY)), _OWN[name])


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
        SCHEMAS.check(schema, ANY)
    except SchemaError as refused:
        assert refused.code in ("schema-unsupported", "schema-unsatisfiable")
        return
    whole = SCHEMAS.close(schema, b"", ANY)
    jsonschema.validate(json.loads(whole), schema)
    cut = data.draw(st.integers(0, len(whole)))
    jsonschema.validate(json.loads(SCHEMAS.close(schema, whole[:cut], ANY)), schema)


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
        SCHEMAS.check(schema, ANY)
    assert named in refused.value.message


def test_endless_schemas_are_refused() -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}
    with pytest.raises(SchemaError) as refused:
        SCHEMAS.check(schema, ANY)
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


_FORMATS = {
    "email": "ann.lee+x@mail.example.com",
    "uri": "https://example.com/a?b=c#d",
    "uuid": "123e4567-e89b-12d3-a456-426614174000",
    "date-time": "2026-11-26T02:26:29.5+01:00",
    "date": "2024-02-29",
    "time": "23:59:59Z",
    "ipv4": "192.168.0.255",
    "ipv6": "2001:db8:0:0:0:0:2:1",
    "hostname": "a-b.example.com",
    "duration": "P3DT4H",
}


@pytest.mark.parametrize("name", _FORMATS)
def test_every_format_is_accepted_and_closes_from_every_byte(name: str) -> None:
    schema = {"type": "string", "format": name}
    SCHEMAS.check(schema, ANY)
    whole = json.dumps(_FORMATS[name]).encode()
    for cut in range(len(whole) + 1):
        closed = SCHEMAS.close(schema, whole[:cut], ANY)
        # Closed by the grammar is valid by construction: what is held here is that it is kept.
        assert closed.startswith(whole[:cut])
        assert len(closed) < cut + 60
        if name != "time":  # jsonschema knows it from an old draft, without an offset
            checker = jsonschema.FormatChecker()
            jsonschema.validate(json.loads(closed), schema, format_checker=checker)


_PATTERNS = {
    "(a|b)*a(a|b){14}c": "abaabababababababac",
    "^[a-z]*zqx$": "somezqx",
    r"^https?://[^\s/]+\.[a-z]{2,}(/\S*)?$": "https://example.org/x",
    r"^\S+@\S+\.\S+$": "a@b.cd",
    r"\{\{end\}\}": "text {{end}} text",
    "^(foo|bar)+-x$": "foobar-x",
    "^[A-Z]{2}[0-9]{2}( [A-Z0-9]{4}){4}$": "DE12 3456 7890 ABCD 1234",
    r"^\$[0-9]{1,3}(,[0-9]{3})*\.[0-9]{2}$": "$1,234.50",
    "^[a-z]{3000}$": "ab" * 1500,
}


@pytest.mark.parametrize("pattern", _PATTERNS)
def test_patterns_are_accepted_and_close_from_every_byte(pattern: str) -> None:
    schema = {"type": "string", "pattern": pattern}
    SCHEMAS.check(schema, ANY)
    whole = json.dumps(_PATTERNS[pattern]).encode()
    # One pattern's automaton takes half a second a cut: a few cuts tell as much there.
    few = 5 if "{14}" in pattern else 60
    for cut in range(0, len(whole) + 1, 1 + len(whole) // few):
        closed = SCHEMAS.close(schema, whole[:cut], ANY)
        assert re.search(pattern, json.loads(closed))


_NO_SHORT_ANSWER: list[dict[str, Any]] = [
    {"type": "integer", "multipleOf": 9973, "minimum": 1},
    {"type": "string", "pattern": "^[a-z]*[q][z][x][w][v][u][t][s][y]$"},
    {"type": "string", "pattern": "(x+x+)+y{500}z"},
    {"type": "string", "minLength": 19_000},
]


@pytest.mark.parametrize("schema", _NO_SHORT_ANSWER)
def test_a_check_is_quick_and_calls_nothing_unsatisfiable_that_it_only_did_not_find(
    schema: dict[str, Any],
) -> None:
    schemas, started = LlguidanceSchemas(), time.process_time()
    schemas.check(schema, ANY)
    first = time.process_time() - started
    assert first < 4, "a fifth of a second on an idle core; without the budget, minutes"
    started = time.process_time()
    for _ in range(20):
        schemas.check(schema, ANY)
    assert time.process_time() - started < 10 * first, "the verdict is remembered"


@pytest.mark.parametrize(
    ("schema", "code"),
    [
        ({"type": "integer", "multipleOf": 999_983}, "schema-unsupported"),
        ({"type": "array", "items": {"multipleOf": 0.99983}}, "schema-unsupported"),
        ({"type": "string", "minLength": 30_000_001}, "schema-too-long"),
        (
            {"type": "array", "minItems": 100, "items": {"type": "string", "minLength": 999}},
            "schema-too-long",
        ),
    ],
)
def test_what_would_take_too_long_is_refused_at_once(schema: dict[str, Any], code: str) -> None:
    started = time.process_time()
    with pytest.raises(SchemaError) as refused:
        SCHEMAS.check(schema, ANY)
    assert refused.value.code == code
    assert time.process_time() - started < 3  # some milliseconds on an idle core


@pytest.mark.parametrize("divisor", [7, 0.01, 0.25, 100_000, 9_990])
def test_ordinary_divisors_are_honoured(divisor: float) -> None:
    schema = {"type": "number", "multipleOf": divisor, "minimum": 1}
    SCHEMAS.check(schema, ANY)
    assert json.loads(SCHEMAS.close(schema, b"1", ANY)) >= 1


def test_a_thrown_switch_ends_the_search() -> None:
    switch = Cancellation()
    switch.cancel("deadline")
    with pytest.raises(StoppedError):
        LlguidanceSchemas().check(_NO_SHORT_ANSWER[1], switch)
    with pytest.raises(StoppedError):
        SCHEMAS.close(_NO_SHORT_ANSWER[1], b'"abc', switch)


def test_an_answer_that_cannot_be_closed_is_an_error_and_no_hang() -> None:
    started = time.process_time()
    with pytest.raises(SchemaError) as refused:
        SCHEMAS.close(_NO_SHORT_ANSWER[1], b'"abc', ANY)
    assert refused.value.code == "answer-not-closed"
    assert time.process_time() - started < 20


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
        {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}},
        {
            "type": "object",
            "properties": {"v": {"type": "integer"}, "a": {"$ref": "#/$defs/b"}},
            "required": ["v", "a"],
            "$defs": {"b": {"allOf": [{"$ref": "#"}]}},
        },
    ],
)
def test_other_endless_schemas_are_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(SchemaError) as refused:
        SCHEMAS.check(schema, ANY)
    assert refused.value.code == "schema-unsatisfiable"


def test_a_schema_that_may_end_is_not_endless() -> None:
    tree = {
        "type": "object",
        "properties": {"left": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}},
        "required": ["left"],
        "additionalProperties": False,
    }
    SCHEMAS.check(tree, ANY)
    assert json.loads(SCHEMAS.close(tree, b'{"left":{"left":', ANY)) == {"left": {"left": None}}


def test_where_the_grammar_gives_up_an_earlier_cut_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """llguidance keeps at most 2,000 possibilities open at once."""
    # It takes a tenth of what a check may; on a busy machine there would be no verdict.
    monkeypatch.setattr(llguidance_grammar, "_CHECK_SECONDS", 60.0)
    options = [
        {
            "type": "array",
            "prefixItems": [{"const": 1}],
            "items": {"type": "object", "properties": {f"p{number}": {"type": "integer"}}},
        }
        for number in range(2500)
    ]
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"k": {"type": "array", "items": {"anyOf": options}}},
    }
    SCHEMAS.check(schema, ANY)
    assert json.loads(SCHEMAS.close(schema, b'{"k":[[1', ANY)) == {}
    with pytest.raises(SchemaError, match="more ways open") as refused:
        SCHEMAS.check({**schema, "required": ["k"]}, ANY)
    assert refused.value.code == "schema-unsupported"


def test_what_the_grammar_says_of_its_trouble_holds_nothing_that_was_written() -> None:
    schema = {"type": "object", "properties": {"secret": {"type": "string"}}}
    matcher = llguidance_grammar._matcher(SCHEMAS._tokenizer, schema)
    answer = llguidance_grammar.LlguidanceAnswer(matcher, frozenset())
    answer.consume(list(b'{"secret":"words'))
    with pytest.raises(OutputError) as refused:
        answer.consume(list(b"\n"))
    assert "words" not in refused.value.message
    assert "\n" not in refused.value.message
    assert "state" not in refused.value.message
