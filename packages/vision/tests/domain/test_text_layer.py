"""A PDF's own text: which lines it makes, in which order, and beside what the model read."""

from __future__ import annotations

import math
import random
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shimmy_vision.domain.answer.layer_confirmation import settle_texts
from shimmy_vision.domain.image.layer_words import LayerCharacter, clean
from shimmy_vision.domain.image.pixels import Box
from shimmy_vision.domain.image.reading_order import Bounds, reading_order
from shimmy_vision.domain.image.text_layer import LayerLine, read_layer
from shimmy_vision.domain.image.text_merge import ReadText

PAGE = Box(0, 0, 1000, 1400)


def _set(
    text: str, x: float, y: float, *, size: float = 20, turn: float = 0, known: bool = True
) -> list[LayerCharacter]:
    """``text`` on a baseline from (x, y), half a font size a character; ``turn`` in degrees."""
    along = (math.cos(math.radians(turn)), math.sin(math.radians(turn)))
    up = (along[1], -along[0])
    placed = []
    for number, one in enumerate(text):
        at = (x + along[0] * number * size / 2, y + along[1] * number * size / 2)
        end = (
            at[0] + along[0] * size * 0.45 + up[0] * size * 0.7,
            at[1] + along[1] * size * 0.45 + up[1] * size * 0.7,
        )
        ink = (min(at[0], end[0]), min(at[1], end[1]), max(at[0], end[0]), max(at[1], end[1]))
        placed.append(LayerCharacter(one, known, *at, *along, size, *ink))
    return placed


def _lines(*parts: list[LayerCharacter]) -> list[str]:
    layer = read_layer([one for part in parts for one in part], PAGE.width, PAGE.height)
    return [line.text for line in layer.lines]


def _state(*parts: list[LayerCharacter]) -> str:
    return read_layer([one for part in parts for one in part], PAGE.width, PAGE.height).state


def test_characters_become_lines_with_the_box_of_their_ink() -> None:
    layer = read_layer(_set("Total due", 100, 200), PAGE.width, PAGE.height)
    assert layer.lines == (LayerLine("Total due", Box(100, 186, 89, 14)),)


def test_lines_drawn_in_any_order_are_read_from_the_top() -> None:
    lines = [_set(f"line {n}", 100, 100 + 40 * n) for n in range(20)]
    wanted = [f"line {n}" for n in range(20)]
    random.Random(1).shuffle(lines)
    assert _lines(*lines) == wanted


def test_words_drawn_apart_on_one_baseline_are_one_line() -> None:
    assert _lines(_set("world", 160, 100), _set("hello", 100, 100)) == ["hello world"]
    assert _lines(_set("bold", 100, 100), _set("er", 140, 100)) == ["bolder"]


def test_cells_of_a_row_stay_apart_and_are_read_row_by_row() -> None:
    rows = [("Item", "Price"), ("Tea", "3.50"), ("Milk", "1.20"), ("Bread", "2.80")]
    cells = [
        _set(text, 100 + 400 * column, 100 + 40 * row)
        for row, texts in enumerate(rows)
        for column, text in enumerate(texts)
    ]
    assert _lines(*cells) == [text for texts in rows for text in texts]


@pytest.mark.parametrize("shift", [0, 13])
def test_columns_of_prose_are_read_one_after_the_other(shift: int) -> None:
    """Below a title across both; with lines side by side, and shifted by half a line."""
    prose = "some words of a column that fill it well"
    title = _set("A title that runs across both of the columns and further still", 100, 60)
    left = [_set(f"L{n} {prose}", 60, 130 + 30 * n) for n in range(6)]
    right = [_set(f"R{n} {prose}", 520, 130 + shift + 30 * n) for n in range(6)]
    drawn = [title, *(line for pair in zip(left, right, strict=True) for line in pair)]
    read = _lines(*drawn)
    assert read[0].startswith("A title")
    assert [line[:2] for line in read[1:]] == [f"{c}{n}" for c in "LR" for n in range(6)]


@pytest.mark.parametrize("turn", [0, 90, 180, 270, 30, 2])
def test_turned_text_is_read_along_its_own_direction(turn: int) -> None:
    middle = (500, 700)
    down = (-math.sin(math.radians(turn)), math.cos(math.radians(turn)))
    lines = [
        _set(f"turned {n}", middle[0] + down[0] * 40 * n, middle[1] + down[1] * 40 * n, turn=turn)
        for n in range(3)
    ]
    assert _lines(*reversed(lines)) == ["turned 0", "turned 1", "turned 2"]


def test_the_direction_of_most_text_comes_first() -> None:
    margin = _set("a note in the margin", 40, 900, turn=-90)
    assert _lines(margin, *(_set(f"text of line {n}", 100, 40 * n + 90) for n in range(3))) == [
        "text of line 0",
        "text of line 1",
        "text of line 2",
        "a note in the margin",
    ]


def test_text_that_runs_leftwards_keeps_its_logical_order() -> None:
    text = "שלום עולם"
    placed = _set(text, 100, 100)
    mirrored = [
        one._replace(x=600 - one.x, left=600 - one.right, right=600 - one.left) for one in placed
    ]
    assert _lines(mirrored) == [text]


def test_a_superscript_stays_in_its_line() -> None:
    assert _lines(_set("E = mc", 100, 100), _set("2", 160, 92, size=12)) == ["E = mc2"]


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("e\ufb03cient \ufb02ow", "efficient flow"),
        ("co\u00adop\u00aderate", "cooperate"),
        ("exam\u00ad", "exam-"),
        ("exam\x02", "exam-"),
        ("1\u00a0000\u2009km\u3000x", "1 000 km x"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("Cafe\u0301", "Café"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),
        ("a\x00b\ue000c", "abc"),
        ("  ", ""),
        ("\u00ad", ""),
    ],
)
def test_typesetting_leaves_the_text(raw: str, wanted: str) -> None:
    assert clean(raw) == wanted


@given(st.text())
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert once == once.strip()
    assert "\n" not in once


def test_a_layer_that_is_garbage_is_not_used() -> None:
    assert _state() == "absent"
    assert _state(_set("   ", 100, 100)) == "absent"
    assert _state(_set("text off the page", -900, 100)) == "absent"
    assert _state(_set("\ue001\ue002\ue003 \ue004", 100, 100)) == "unreadable"
    assert _state(_set("This has no table", 100, 100, known=False)) == "unreadable"
    assert _state(_set("--- *** ///", 100, 100)) == "unreadable"
    assert _state(_set("\ufffd\ufffda", 100, 100)) == "unreadable"
    assert _state(_set("2026", 100, 100)) == "used"


def test_drawn_symbols_do_not_spoil_the_words_beside_them() -> None:
    words = [_set(f"\ue001 setting number {n}", 100, 100 + 40 * n) for n in range(4)]
    symbols = _set("\ue005\ue006a", 600, 100)
    assert _lines(*words, symbols) == [f"setting number {n}" for n in range(4)]


_characters = st.builds(
    LayerCharacter,
    st.characters() | st.sampled_from([" ", "a", "\ue000", "\x02"]),
    st.booleans() | st.just(True),
    *(st.floats(-200, 1600) for _ in range(2)),
    st.just(1.0),
    st.just(0.0),
    st.floats(1, 80),
    *(st.floats(-200, 1600) for _ in range(4)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_characters, max_size=40))
def test_any_layer_makes_lines_inside_the_page(characters: list[LayerCharacter]) -> None:
    layer = read_layer(characters, PAGE.width, PAGE.height)
    assert bool(layer.lines) == (layer.state == "used")
    for line in layer.lines:
        assert line.text == clean(line.text)
        assert 0 <= line.box.x < line.box.right <= PAGE.width
        assert 0 <= line.box.y < line.box.bottom <= PAGE.height


_bounds = st.tuples(
    st.integers(0, 900), st.integers(0, 1300), st.integers(1, 600), st.integers(1, 60)
).map(lambda b: Bounds(b[0], b[1], b[0] + b[2], b[1] + b[3]))


@settings(max_examples=200, deadline=None)
@given(st.lists(_bounds, max_size=60))
def test_every_box_is_read_once(boxes: list[Bounds]) -> None:
    assert sorted(reading_order(boxes)) == list(range(len(boxes)))


@given(st.lists(st.integers(0, 100), unique=True, min_size=1, max_size=40), st.randoms())
def test_stacked_boxes_are_read_downwards(places: list[int], shuffler: random.Random) -> None:
    boxes = [Bounds(10, 30 * n, 400, 30 * n + 20) for n in places]
    assert [boxes[i].top for i in reading_order(boxes)] == sorted(30 * n for n in places)


def _layer(*texts: str) -> list[LayerLine]:
    return [LayerLine(text, Box(100, 100 + 40 * n, 300, 20)) for n, text in enumerate(texts)]


def _read(*texts: str, box: Box = PAGE) -> list[ReadText]:
    return [ReadText(text, 0.9, box) for text in texts]


def _settled(layer: list[LayerLine], read: list[ReadText]) -> list[tuple[str, str]]:
    return [(one.source, one.text) for one in settle_texts(layer, read).texts]


def test_what_both_know_stands_once_as_the_pdf_has_it() -> None:
    layer = _layer("Invoice number 2026-17", "Total due: 45.00 EUR")
    read = _read("INVOICE NUMBER 2026-17", "Total due 45.00 EUR", "ACME")
    assert _settled(layer, read) == [
        ("pdf", "Invoice number 2026-17"),
        ("pdf", "Total due: 45.00 EUR"),
        ("model", "ACME"),
    ]
    assert settle_texts(layer, read).texts[0] == ReadText(
        "Invoice number 2026-17", 1.0, layer[0].box, "pdf"
    )


@pytest.mark.parametrize(
    "misread",
    [
        "Invoice numbcr 2026-17",
        "lnvoice number 2026-17",
        "Invoice nunber 2026-17 Total due",
        "Invoice number 2026-17\nTotal due",
        "Total due",
        "number 2026-17",
    ],
)
def test_a_misread_or_cut_line_is_confirmed(misread: str) -> None:
    layer = _layer("Invoice number 2026-17", "Total due")
    assert all(source == "pdf" for source, _ in _settled(layer, _read(misread)))


@pytest.mark.parametrize("other", ["17 Main Street", "due", "Open daily", "number of guests", "•"])
def test_text_of_pictures_stays_the_models(other: str) -> None:
    layer = _layer("Invoice number 2026-17", "Total amount")
    assert ("model", other) in _settled(layer, _read(other))


def test_each_word_of_the_layer_confirms_one_reading() -> None:
    read = _read("OK", "OK", "OK")
    assert _settled(_layer("OK", "OK"), read).count(("model", "OK")) == 1


def test_a_reading_is_confirmed_only_by_what_stands_in_its_tile() -> None:
    layer = _layer("Signature")
    below = Box(0, 700, 1000, 700)
    assert _settled(layer, _read("Signature", box=below))[-1] == ("model", "Signature")
    assert _settled(layer, _read("Signature")) == [("pdf", "Signature")]


def test_scripts_without_spaces_are_confirmed_letter_by_letter() -> None:
    layer = _layer("請求書番号二〇二六", "合計金額")
    assert _settled(layer, _read("請求書番号", "合計 金額", "株式会社"))[2:] == [
        ("model", "株式会社")
    ]


def test_without_a_layer_everything_is_the_models() -> None:
    read = _read("a", "b")
    assert settle_texts([], read).texts == tuple(read)


def test_a_layer_that_says_something_else_is_doubted() -> None:
    words = [f"word{n} other{n} third{n}" for n in range(10)]
    wrong = _layer(*(f"zqx{n} vbk{n}" for n in range(10)))
    assert settle_texts(wrong, _read(*words)).doubtful
    assert not settle_texts(_layer(*words), _read(*words)).doubtful
    assert not settle_texts(wrong, _read("few words")).doubtful


_texts = st.lists(st.text(st.characters(codec="utf-8"), max_size=30), max_size=8)


@settings(max_examples=150, deadline=None)
@given(_texts, _texts)
def test_the_layer_stands_whole_and_the_rest_in_order(own: list[str], read: list[str]) -> None:
    layer, readings = _layer(*own), _read(*read)
    settled = settle_texts(layer, readings).texts
    assert [one.text for one in settled[: len(layer)]] == own
    rest = iter(readings)
    assert all(any(one is reading for reading in rest) for one in settled[len(layer) :])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.from_regex(r"[a-z]{2,9}( [a-z]{2,9}){0,4}", fullmatch=True), max_size=8))
def test_a_perfect_reading_leaves_nothing_to_the_model(lines: list[str]) -> None:
    settled = settle_texts(_layer(*lines), _read(*lines)).texts
    assert len(settled) == len(lines)
