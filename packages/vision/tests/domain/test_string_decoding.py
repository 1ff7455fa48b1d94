"""A JSON string read in pieces is the string read whole, however it is cut."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from shimmy_vision.domain.answer.answer_reading import read_answer
from shimmy_vision.domain.answer.string_decoding import StringDecoder

ESCAPES = (r"\n", r"\"", r"\\", r"\/", r"\u0041", r"\u20ac", r"\uD83D", r"\ude00", r"\ud83d\uDE00")
LITERALS = st.lists(
    st.sampled_from(ESCAPES)
    | st.text(max_size=4).map(lambda text: json.dumps(text)[1:-1])
    | st.text(max_size=4).map(lambda text: json.dumps(text, ensure_ascii=False)[1:-1])
).map(lambda units: f'"{"".join(units)}"')


@given(LITERALS, st.lists(st.integers(0, 80)))
def test_pieces_make_the_whole(literal: str, cuts: list[int]) -> None:
    decoder, told, start = StringDecoder(), "", 0
    for cut in (*sorted(cuts), len(literal)):
        told += decoder.feed(literal[start:cut])
        start = max(start, cut)
    assert told == read_answer(literal.encode(), []).value


@given(LITERALS)
def test_one_character_at_a_time_takes_nothing_back(literal: str) -> None:
    decoder = StringDecoder()
    pieces = [decoder.feed(character) for character in literal]
    whole = read_answer(literal.encode(), []).value
    assert "".join(pieces) == whole
    for piece in pieces:
        piece.encode()  # no half of a pair ever goes out


def test_what_cannot_change_any_more_is_told_at_once() -> None:
    decoder = StringDecoder()
    told = [decoder.feed(piece) for piece in ('"Hel', "lo", r"\u0", "041", r"\ud83d", r"\ude00!")]
    assert told == ["Hel", "lo", "", "A", "", "😀!"]
    assert [decoder.feed('"'), decoder.feed("more")] == ["", ""]
