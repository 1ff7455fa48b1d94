"""Which element of the page is meant by what the model saw."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shimmy_vision.domain.answer.answer_schemas import ELEMENT_TYPES
from shimmy_vision.domain.answer.element_fusion import add_elements, fuse_elements, match_elements
from shimmy_vision.domain.image.pixels import Box
from shimmy_vision.domain.web.dom_elements import MOST_ELEMENTS, DomElement, RootStep

ROLES = {"a": "link", "button": "button", "input": "textbox", "select": "combobox"}


def _element(tag: str, name: str = "", **more: Any) -> DomElement:
    fields: dict[str, Any] = {
        "tag": tag,
        "role": ROLES.get(tag, ""),
        "name": name,
        "text": "",
        "selector": f"#{name or tag}",
        "roots": (),
        "box": Box(1, 2, 3, 4),
        "attributes": {},
        "foreground": None,
        "background": None,
        "contrast": None,
    }
    return DomElement(**{**fields, **more})


CHECKBOX = {"role": "checkbox", "attributes": {"type": "checkbox"}}
SUBMIT = {"role": "button", "attributes": {"type": "submit"}}


@pytest.mark.parametrize(
    ("seen", "element"),
    [
        (("Sign in", "button"), _element("button", "Sign in")),
        (("SIGN-IN button", "button"), _element("button", "Sign in")),
        (("the Log in button", "button"), _element("input", "Login", **SUBMIT)),
        (("Sign in", "link"), _element("button", "Sign in")),
        (("Email address field", "input"), _element("input", "", text="", attributes={
            "placeholder": "E-mail address"})),
        (("Forgot your passwrod?", "link"), _element("a", "Forgot your password?")),
        (("Remember me", "checkbox"), _element("input", "Remember me", **CHECKBOX)),
        (("Dark mode", "toggle"), _element("button", "Dark mode", role="switch")),
        (("Country", "select"), _element("select", "Country")),
        (("Details", "tab"), _element("button", "Details", role="tab")),
        (("Über uns", "link"), _element("a", "U\u0308BER UNS")),
        (("検索", "button"), _element("button", "検索")),
        (("Button", "button"), _element("button", "Button")),
        (("Cart", "icon"), _element("a", "", text="Cart")),
        (("Page 2", "link"), _element("a", "page 2")),
    ],
)  # fmt: skip
def test_one_is_recognised(seen: tuple[str, str], element: DomElement) -> None:
    assert match_elements([seen], [_element("a", "Something else"), element]) == [1]


@pytest.mark.parametrize(
    ("seen", "element"),
    [
        (("Sign in", "button"), _element("button", "Sign up")),
        (("Sign in", "button"), _element("button", "Sign in with Google")),
        (("Page 1", "link"), _element("a", "Page 2")),
        (("Chapter 10", "link"), _element("a", "Chapter 11")),
        (("Sign in", "button"), _element("input", "Sign in")),
        (("Sign in", "input"), _element("button", "Sign in")),
        (("Remember me", "input"), _element("input", "Remember me", **CHECKBOX)),
        (("Save", "checkbox"), _element("input", "Save", **SUBMIT)),
        (("Main", "navigation"), _element("a", "Main")),
        (("", "button"), _element("button", "")),
        (("—", "button"), _element("button", "…")),
        (("No such kind", "nonsense"), _element("button", "No such kind")),
    ],
)
def test_what_is_not_the_same_stays_apart(seen: tuple[str, str], element: DomElement) -> None:
    assert match_elements([seen], [element]) == [None]


def test_the_best_agreement_wins_and_nothing_is_given_twice() -> None:
    found = [
        _element("a", "Delete"),
        _element("button", "Deletes"),
        _element("button", "Delete"),
        _element("button", "Delete"),
    ]
    button = ("Delete", "button")
    assert match_elements([button], found) == [2]
    assert match_elements([button] * 5, found) == [2, 3, 0, 1, None]
    assert match_elements([("Deletes", "button"), button], found) == [1, 2]


def test_names_of_the_same_letter_pairs_are_told_apart() -> None:
    found = [_element("button", "aaaa"), _element("button", "aaa")]
    assert match_elements([("aaa", "button")], found) == [1]


def test_a_match_brings_the_exact_box_and_the_way_there() -> None:
    tile = {"x": 0, "y": 0, "width": 900, "height": 900}
    seen = [
        {"name": "Pay", "element_type": "button", "box": tile},
        {"name": "Total", "element_type": "table", "box": tile},
    ]
    roots = (RootStep("frame", "iframe"), RootStep("shadow", "#host"))
    paid, total = fuse_elements(seen, [_element("button", "Pay", roots=roots)])
    assert paid == {
        "name": "Pay",
        "element_type": "button",
        "box": {"x": 1, "y": 2, "width": 3, "height": 4},
        "source": "dom",
        "selector": "#Pay",
        "roots": [
            {"kind": "frame", "selector": "iframe"},
            {"kind": "shadow", "selector": "#host"},
        ],
    }
    assert total == {**seen[1], "source": "model"}
    assert "source" not in seen[0], "what was handed in is not changed"
    (plain,) = fuse_elements(seen[:1], [_element("button", "Pay")])
    assert "roots" not in plain


def test_a_result_without_layout_has_the_map_all_the_same() -> None:
    result = add_elements({"answer": {"a": 1}, "meta": {}}, [_element("button", "Pay")])
    assert list(result) == ["answer", "dom_map", "meta"]
    assert result["dom_map"][0]["selector"] == "#Pay"


NAMES = st.one_of(
    st.sampled_from(["Save", "Saves", "Save all", "Delete", "Page 1", "Page 2", "the button", ""]),
    st.text(max_size=12),
)
SEEN = st.lists(st.tuples(NAMES, st.sampled_from(ELEMENT_TYPES)), max_size=12)
FOUND = st.lists(
    st.builds(_element, st.sampled_from(["a", "button", "input", "select", "x-y"]), NAMES),
    max_size=12,
)


@given(seen=SEEN, found=FOUND)
def test_matches_are_one_to_one_and_always_the_same(
    seen: list[tuple[str, str]], found: list[DomElement]
) -> None:
    matches = match_elements(seen, found)
    taken = [one for one in matches if one is not None]
    assert len(matches) == len(seen)
    assert len(set(taken)) == len(taken)
    assert all(0 <= one < len(found) for one in taken)
    assert match_elements(seen, found) == matches


@given(seen=SEEN, found=FOUND, more=st.integers(1, 5))
def test_others_on_the_page_change_nothing(
    seen: list[tuple[str, str]], found: list[DomElement], more: int
) -> None:
    others = [_element("button", "entirely unrelated words indeed") for _ in range(more)]
    assert match_elements(seen, [*found, *others]) == match_elements(seen, found)


@given(found=FOUND, name=st.text("abcdefg", min_size=1, max_size=10))
def test_an_equal_name_of_the_right_kind_is_always_found(
    found: list[DomElement], name: str
) -> None:
    wanted = _element("button", name.upper())
    (match,) = match_elements([(name, "button")], [*found, wanted])
    assert match is not None
    chosen = [*found, wanted][match]
    assert chosen.tag == "button"
    assert chosen.name.casefold() == name


def test_a_crowded_page_is_matched_quickly() -> None:
    """As large as pages and answers may be; 0.4 s on an idle machine."""
    found = [
        _element("button", f"{'Add to the cart ' * 11}{n}", text=f"{'Remove it ' * 19}{n}")
        for n in range(MOST_ELEMENTS)
    ]
    seen = [(f"{'Add to the cart ' * 4}{n}", "button") for n in range(60)]
    begun = time.process_time()
    match_elements(seen, found)
    assert time.process_time() - begun < 5
