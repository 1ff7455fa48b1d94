"""String values are found at their exact bytes."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shimmy_vision.domain.answer.json_strings import locate_strings

_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=20,
)


def _strings(
    value: Any, path: tuple[str | int, ...] = ()
) -> list[tuple[tuple[str | int, ...], str]]:
    match value:
        case str():
            return [(path, value)]
        case list():
            return [hit for i, item in enumerate(value) for hit in _strings(item, (*path, i))]
        case dict():
            return [hit for k, item in value.items() for hit in _strings(item, (*path, k))]
        case _:
            return []


@given(_values, st.booleans(), st.sampled_from([None, 2]))
def test_every_string_is_found_where_it_stands(
    value: Any, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    data = text.encode("utf-8", "surrogatepass")
    try:
        data.decode()
    except UnicodeDecodeError:
        return
    found = [
        (hit.path, json.loads(b'"' + data[hit.start : hit.end] + b'"'))
        for hit in locate_strings(text)
    ]
    assert found == _strings(value)
