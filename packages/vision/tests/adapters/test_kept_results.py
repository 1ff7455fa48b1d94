"""What is found is a copy of what was kept, and no more bytes than allowed stay."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shimmy_vision.adapters.engine.bounded_lru import ENTRY_BYTES
from shimmy_vision.adapters.engine.kept_results import MemoryResults

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), _JSON, max_size=4))
def test_any_result_comes_back_as_a_copy(result: dict[str, Any]) -> None:
    results, before = MemoryResults(1_000_000), json.dumps(result)
    results.keep("key", result)
    result["changed"] = [1]
    first = results.find("key")
    assert first is not None
    assert json.dumps(first) == before
    first["changed too"] = 1
    assert json.dumps(results.find("key")) == before


@given(st.integers(0, 2000), st.lists(st.text(max_size=40), max_size=30))
def test_no_more_is_kept_than_allowed(limit: int, texts: list[str]) -> None:
    results = MemoryResults(limit)
    for number, text in enumerate(texts):
        results.keep(str(number), {"text": text})
        assert results.kept.bytes <= limit
    assert results.keeps == (limit > 0)
    sizes = [len(json.dumps({"text": one}, ensure_ascii=False)) for one in texts]
    if texts and limit > ENTRY_BYTES + 4 * max(sizes):
        assert results.find(str(len(texts) - 1)) == {"text": texts[-1]}


def test_half_a_character_does_not_hurt() -> None:
    results = MemoryResults(1000)
    results.keep("key", {"text": "\ud83d"})
    assert results.find("key") == {"text": "\ud83d"}
