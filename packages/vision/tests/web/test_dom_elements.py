"""What a page reports of itself is read as a stranger's word."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shimmy_vision.domain.image.pixels import Box
from shimmy_vision.domain.web.dom_elements import MOST_ELEMENTS, RootStep, read_elements

GOOD: dict[str, Any] = {
    "tag": "button",
    "role": "button",
    "name": " Sign\n in ",
    "text": "x" * 500,
    "selector": "#go",
    "roots": [{"kind": "shadow", "selector": "#host"}, {"kind": "frame", "selector": "iframe"}],
    "box": [10.2, 20.8, 30.1, 40.0],
    "attributes": {"type": "submit", "onclick": "steal()", "aria-label": "Go", "style": "x"},
    "colour": [0, 0, 0, 1],
    "layers": [{"background": [255, 255, 255, 1], "opacity": 1, "image": False}],
    "canvas": [255, 255, 255, 1],
}


def _read(**changes: Any) -> Any:
    return next(iter(read_elements([{**GOOD, **changes}], 100, 100)), None)


def test_an_element_is_read_whole() -> None:
    element = _read()
    assert (element.tag, element.role, element.name) == ("button", "button", "Sign in")
    assert len(element.text) == 200
    assert element.text.endswith("…")
    assert element.roots == (RootStep("shadow", "#host"), RootStep("frame", "iframe"))
    assert element.box == Box(10, 20, 21, 20)
    assert element.attributes == {"type": "submit", "aria-label": "Go"}
    assert (element.foreground, element.background, element.contrast) == ("#000000", "#ffffff", 21)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([-5, -5, 5, 5], Box(0, 0, 5, 5)),
        ([90, 90, 500, 500], Box(90, 90, 10, 10)),
        ([100, 0, 120, 10], None),
        ([5, 5, 5, 9], None),
        ([9, 5, 3, 9], None),
    ],
)
def test_boxes_lie_in_the_picture(box: list[float], expected: Box | None) -> None:
    element = _read(box=box)
    assert (element and element.box) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"selector": ""},
        {"selector": "x" * 2000},
        {"selector": None},
        {"box": "all of it"},
        {"box": [1, 2, 3]},
        {"box": [0, 0, float("nan"), 1]},
        {"box": [0, 0, 10**400, 1]},
        {"box": [True, 0, 9, 9]},
        {"roots": None},
        {"roots": [{"kind": "window", "selector": "x"}]},
        {"roots": ["#x"]},
    ],
)
def test_what_could_not_be_found_again_is_left_out(changes: dict[str, Any]) -> None:
    assert _read(**changes) is None


@pytest.mark.parametrize(
    "changes",
    [{"colour": "red"}, {"layers": None}, {"layers": [{}]}, {"canvas": [1, 2]}, {"layers": [1]}],
)
def test_colours_that_cannot_be_read_are_unknown(changes: dict[str, Any]) -> None:
    element = _read(**changes)
    assert (element.foreground, element.background, element.contrast) == (None, None, None)


def test_there_are_never_too_many() -> None:
    assert len(read_elements([GOOD] * 5000, 100, 100)) == MOST_ELEMENTS


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)
REPORTS = st.lists(
    st.fixed_dictionaries({}, optional=dict.fromkeys(GOOD, JSON)).map(lambda odd: {**GOOD, **odd})
    | JSON,
    max_size=4,
)


@given(REPORTS | JSON)
def test_any_report_is_read(report: Any) -> None:
    for element in read_elements(report, 100, 100):
        assert element.box.right <= 100
        assert element.box.bottom <= 100
        assert element.selector
        element.name.encode()
        element.text.encode()
