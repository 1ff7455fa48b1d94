"""Composited colours and contrast, against values worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shimmy_vision.domain.web.painted_colours import Layer, Rgba, painted_colours

WHITE: Rgba = (255, 255, 255, 1)
BLACK: Rgba = (0, 0, 0, 1)
GREY: Rgba = (119, 119, 119, 1)  # #777777
CLEAR: Rgba = (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("text", "layers", "canvas", "foreground", "background", "ratio"),
    [
        (BLACK, [], WHITE, (0, 0, 0), (255, 255, 255), 21.0),
        (WHITE, [], WHITE, (255, 255, 255), (255, 255, 255), 1.0),
        # (1 + 0.05) / (0.18447... + 0.05): the textbook's grey that just fails.
        (GREY, [Layer(CLEAR)], WHITE, (119, 119, 119), (255, 255, 255), 4.48),
        # Half black on white is 127.5 a channel, rounded to even.
        ((0, 0, 0, 0.5), [], WHITE, (128, 128, 128), (255, 255, 255), 3.95),
        # A veil of half black over red: 255 / 2.
        (WHITE, [Layer((0, 0, 0, 0.5)), Layer((255, 0, 0, 1))], WHITE,
         (255, 255, 255), (128, 0, 0), 10.95),
        # Opacity 0.5 fades text and its background together over the page behind.
        (BLACK, [Layer(WHITE, 0.5), Layer(BLACK)], WHITE, (0, 0, 0), (128, 128, 128), 5.32),
        (BLACK, [Layer(CLEAR, 0.5)], WHITE, (128, 128, 128), (255, 255, 255), 3.95),
        # An image hidden by an opaque colour matters to nobody.
        (BLACK, [Layer(WHITE), Layer(BLACK, image=True)], WHITE, (0, 0, 0), (255, 255, 255), 21.0),
        # One that shines through leaves the background unknown.
        (BLACK, [Layer(CLEAR, image=True)], WHITE, (0, 0, 0), None, None),
        (BLACK, [Layer((9, 9, 9, 0.5)), Layer(CLEAR, image=True)], WHITE, (0, 0, 0), None, None),
        (BLACK, [Layer(WHITE, 0.9), Layer(CLEAR, image=True)], WHITE, None, None, None),
        (WHITE, [], (18, 18, 18, 1), (255, 255, 255), (18, 18, 18), 18.73),
    ],
)  # fmt: skip
def test_colours_are_those_a_reader_sees(
    text: Rgba,
    layers: list[Layer],
    canvas: Rgba,
    foreground: tuple[int, int, int] | None,
    background: tuple[int, int, int] | None,
    ratio: float | None,
) -> None:
    painted = painted_colours(text, layers, canvas)
    assert (painted.foreground, painted.background) == (foreground, background)
    assert painted.ratio == ratio


CHANNEL = st.integers(0, 255).map(float)
COLOUR = st.tuples(CHANNEL, CHANNEL, CHANNEL, st.floats(0, 1))
LAYERS = st.lists(st.builds(Layer, COLOUR, st.floats(0, 1)), max_size=6)


@given(COLOUR, LAYERS, COLOUR.map(lambda colour: (*colour[:3], 1.0)))
def test_colours_stay_colours_and_ratios_ratios(
    text: Rgba, layers: list[Layer], canvas: Rgba
) -> None:
    painted = painted_colours(text, layers, canvas)
    assert painted.foreground is not None
    assert painted.background is not None
    assert all(0 <= channel <= 255 for channel in (*painted.foreground, *painted.background))
    assert painted.ratio is not None
    assert 1 <= painted.ratio <= 21
