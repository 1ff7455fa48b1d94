"""JSON from outside may be wrong in any way, and never takes the interpreter with it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shimmy_store.domain.json_text import DEEPEST, parse_json

_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["[[", '"{\\', "]"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=300,
)


@given(_ANYTHING)
def test_what_was_written_is_read(value: Any) -> None:
    for written in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert parse_json(written) == value


@given(st.text(alphabet='[]{}",:\\ \n1a', max_size=300))
def test_what_is_no_json_is_a_value_error_as_it_was(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError):
            parse_json(text)
    else:
        assert parse_json(text) == expected


@pytest.mark.parametrize("opened", ["[", '{"a":', '[1,"]]]",', '["\\"]",'])
@pytest.mark.parametrize("depth", [DEEPEST + 1, 12_000, 600_000])
def test_what_is_nested_too_deep_is_refused_before_it_is_parsed(opened: str, depth: int) -> None:
    with pytest.raises(ValueError, match="too deep"):
        parse_json(opened * depth)


def test_what_is_wide_is_read() -> None:
    wide = [[{"[[[": "{"}] for _ in range(5000)]
    assert parse_json(json.dumps(wide)) == wide
    deep: list[Any] = []
    for _ in range(DEEPEST - 1):
        deep = [deep]
    assert parse_json(json.dumps(deep)) == deep
