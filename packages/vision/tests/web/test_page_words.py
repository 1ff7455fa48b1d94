"""How URLs are spoken of, which windows there are, which letters can be read."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shimmy_vision.domain.web.dom_elements import read_elements
from shimmy_vision.domain.web.legibility import is_legible, required_contrast
from shimmy_vision.domain.web.page_urls import LONGEST_URL, host_label, plain_url, reported_url
from shimmy_vision.domain.web.viewport import check_viewport


@pytest.mark.parametrize(
    ("url", "label", "plain"),
    [
        ("http://example.com/a?b=c#d", "example.com", "http://example.com/a"),
        ("HTTPS://Example.com:8443", "Example.com", "HTTPS://Example.com:8443"),
        ("http://ada:pw@example.com/x", "example.com", "http://example.com/x"),
        ("http://a@b:pw@example.com:80/", "example.com", "http://example.com:80/"),
        ("http://[::1]:80/x", "[::1]", "http://[::1]:80/x"),
        ("https:/example.com/x", "example.com", "https:/example.com/x"),
        ("example.com/a?token=s", "the URL", "example.com/a"),
        ("http://", "the URL", "http://"),
        ("http://ex\x1b[31mample.com/", "ex[31mample.com", "http://ex\x1b[31mample.com/"),
        ("", "the URL", ""),
    ],
)
def test_urls_are_named_without_what_is_private(url: str, label: str, plain: str) -> None:
    assert (host_label(url), plain_url(url)) == (label, plain)


@given(
    user=st.text("abcXYZ09.:@-", min_size=1, max_size=20),
    query=st.text("abc=&%@/:", min_size=1, max_size=20),
)
def test_neither_credentials_nor_query_are_ever_named(user: str, query: str) -> None:
    url = f"https://{user}SECRET@host.example/p?{query}SECRET#SECRET"
    assert host_label(url) == "host.example"
    assert plain_url(url) == "https://host.example/p"
    assert reported_url(url) == f"https://host.example/p?{query}SECRET#SECRET"


def test_an_address_without_end_is_cut_to_what_still_leads_there() -> None:
    assert reported_url("http://a.example/b?" + "x" * LONGEST_URL) == "http://a.example/b"
    assert len(reported_url("http://a.example/" + "x" * 2 * LONGEST_URL)) == LONGEST_URL


@pytest.mark.parametrize(
    ("width", "height", "scale", "reason"),
    [
        (49, 800, 1, "sides"),
        (800, 4_001, 1, "sides"),
        (800, 600, 0.49, "scale"),
        (800, 600, 4.01, "scale"),
        (800, 600, math.nan, "scale"),
        (800, 600, math.inf, "scale"),
        (4_000, 4_000, 4, "megapixels"),
    ],
)
def test_windows_that_cannot_be_are_refused(
    width: int, height: int, scale: float, reason: str
) -> None:
    refused = check_viewport(width, height, scale)
    assert refused is not None
    assert reason in refused.reason


def test_windows_that_can_be_are_allowed() -> None:
    for width, height, scale in ((50, 4_000, 1), (1280, 800, 4), (4_000, 3_700, 2)):
        assert check_viewport(width, height, scale) is None


@pytest.mark.parametrize(
    ("size", "weight", "required"),
    [(16, 400, 4.5), (23.9, 400, 4.5), (24, 400, 3), (18.6667, 700, 3), (18.6, 700, 4.5),
     (18.6667, 600, 4.5), (16, 900, 4.5)],
)  # fmt: skip
def test_large_letters_need_less(size: float, weight: float, required: float) -> None:
    assert required_contrast(size, weight) == required


def test_what_is_nearly_enough_is_not_enough() -> None:
    # 4.478 and 4.542 to white: the usual example of WCAG.
    assert not is_legible((0x77, 0x77, 0x77), (255, 255, 255), 16, 400)
    assert is_legible((0x76, 0x76, 0x76), (255, 255, 255), 16, 400)
    assert is_legible((0x77, 0x77, 0x77), (255, 255, 255), 24, 400)


GREY = {
    "tag": "button", "role": "button", "name": "Go", "text": "Go", "selector": "#go", "roots": [],
    "box": [0, 0, 10, 10], "attributes": {}, "colour": [0x77, 0x77, 0x77, 1], "font": [16, 400],
    "layers": [{"background": [255, 255, 255, 1], "opacity": 1, "image": False}],
    "canvas": [255, 255, 255, 1],
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "compliant"),
    [
        ({}, False),
        ({"font": [24, 400]}, True),
        ({"colour": [0, 0, 0, 1]}, True),
        ({"text": "", "attributes": {"placeholder": "Mail"}}, False),
        # Nothing is required of these.
        ({"text": ""}, None),
        ({"text": "→ ·"}, None),
        ({"attributes": {"disabled": ""}}, None),
        ({"attributes": {"aria-disabled": "true"}}, None),
        ({"attributes": {"aria-disabled": "false"}}, False),
        # Not known of these.
        ({"font": None}, None),
        ({"font": ["16", 400]}, None),
        ({"layers": [{"background": [0, 0, 0, 0], "opacity": 1, "image": True}]}, None),
    ],
)
def test_elements_are_judged_only_where_it_is_known_and_required(
    changes: dict[str, object], compliant: bool | None
) -> None:
    (element,) = read_elements([{**GREY, **changes}], 100, 100)
    assert element.compliant is compliant
