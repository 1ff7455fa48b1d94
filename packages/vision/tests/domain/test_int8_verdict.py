"""When int8 is believed, and the pictures it has to prove itself on."""

from __future__ import annotations

import hashlib
import itertools
import math

import numpy as np
import pytest

from shimmy_vision.domain.model.encoder_choice import INT8_HELD, Precision, int8_is_quicker
from shimmy_vision.domain.model.int8_verdict import (
    Int8Verdict,
    decide_verdict,
    describe_verdict,
    parse_verdict,
    verdict_record,
)
from shimmy_vision.domain.model.trial_pictures import PICTURES_DIGEST, trial_pictures


@pytest.mark.parametrize(
    ("least", "verdict"),
    [
        ({"a": 0.9995, "b": INT8_HELD}, Int8Verdict("held", INT8_HELD, "b")),
        ({"a": 0.9995, "b": 0.99899999}, Int8Verdict("fell", 0.99899999, "b")),
        ({"a": 0.2}, Int8Verdict("fell", 0.2, "a")),
        ({"a": 0.9995, "b": math.nan}, Int8Verdict("fell", -1.0, "b")),
        ({"a": 0.9995}, Int8Verdict("failed", 0.9995, "a", "only 1 of 2 pictures")),
    ],
)
def test_every_row_of_every_picture_has_to_hold(
    least: dict[str, float], verdict: Int8Verdict
) -> None:
    assert decide_verdict(least, 2) == verdict
    assert parse_verdict(verdict_record(verdict)) == verdict


@pytest.mark.parametrize(
    "damaged",
    [
        None,
        {},
        {"tries": 1},
        {"outcome": "held", "least": "0.9995", "picture": "a", "reason": ""},
        {"outcome": "held", "least": 0.9, "picture": "a", "reason": ""},
        {"outcome": "held", "least": math.nan, "picture": "a", "reason": ""},
        {"outcome": "splendid", "least": 0.9995, "picture": "a", "reason": ""},
    ],
)
def test_a_damaged_verdict_is_none(damaged: object) -> None:
    assert parse_verdict(damaged) is None


def test_a_verdict_is_told_in_words() -> None:
    assert describe_verdict(Int8Verdict("held", 0.99926, "colours")) == (
        "int8 is used: least cosine to libmtmd 0.999260 (colours)"
    )
    fell = describe_verdict(Int8Verdict("fell", 0.99, "edges"))
    assert "not used" in fell
    assert str(INT8_HELD) in fell
    assert "faster" in describe_verdict(Int8Verdict("no-faster"))
    assert "died" in describe_verdict(Int8Verdict("failed", reason="it died"))


@pytest.mark.parametrize(
    ("seconds", "quicker"),
    [
        ({"f32": 0.06, "bf16": 0.023, "int8": 0.016}, True),
        ({"f32": 0.06, "bf16": 0.023, "int8": 0.022}, False),
        ({"f32": 0.06, "int8": 0.03}, True),
        ({"f32": 0.06, "bf16": 0.023}, False),
        ({"int8": 0.016}, False),
        ({}, False),
    ],
)
def test_int8_has_to_be_clearly_quicker(seconds: dict[Precision, float], quicker: bool) -> None:
    assert int8_is_quicker(seconds) == quicker


def test_the_pictures_are_the_same_everywhere_and_no_two_alike() -> None:
    drawn = [draw() for draw in trial_pictures(448).values()]
    digest = hashlib.sha256(b"".join(picture.tobytes() for picture in drawn))
    # Other pictures are another trial: the digest in the code goes with them.
    assert digest.hexdigest().startswith(PICTURES_DIGEST)
    assert len(PICTURES_DIGEST) == 32
    assert not any(np.array_equal(one, other) for one, other in itertools.combinations(drawn, 2))
