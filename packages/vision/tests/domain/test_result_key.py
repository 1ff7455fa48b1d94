"""Two requests have one key exactly where their results must be the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shimmy_vision.domain.answer.analysis_request import (
    AnalysisRequest,
    AnswerLimits,
    CustomQuestion,
    StandardQuestion,
)
from shimmy_vision.domain.answer.result_key import result_key

PIXELS = np.zeros((4, 6, 3), np.uint8)
MODELS = ("m", "p")
PLAIN = AnalysisRequest()
ONE_WAY = {"properties": {"a": {"type": "string"}, "b": {"type": "string"}}}
OTHER_WAY = {"properties": {"b": {"type": "string"}, "a": {"type": "string"}}}


def key(request: AnalysisRequest = PLAIN, **changed: object) -> str:
    told = {"pixels": PIXELS, "models": MODELS, "besides": None, **changed}
    return result_key(request=request, **told)  # type: ignore[arg-type]


def test_whether_a_kept_result_may_be_given_makes_no_other_key() -> None:
    assert key() == key(replace(PLAIN, cache=False)) == key(pixels=PIXELS.copy())


@pytest.mark.parametrize(
    "changed",
    [
        {"request": AnalysisRequest(StandardQuestion("ocr"))},
        {"request": AnalysisRequest(CustomQuestion("full"))},
        {"request": AnalysisRequest(CustomQuestion(None, ONE_WAY))},
        {"request": AnalysisRequest(limits=AnswerLimits(max_tokens=5))},
        {"request": AnalysisRequest(limits=AnswerLimits(seed=5))},
        {"request": AnalysisRequest(limits=AnswerLimits(temperature=0.5))},
        {"request": AnalysisRequest(raw=True)},
        {"request": AnalysisRequest(slices="all")},
        {"pixels": PIXELS + 1},
        {"pixels": PIXELS.reshape(6, 4, 3)},
        {"models": ("m", "q")},
        {"besides": {"page": 2}},
    ],
)
def test_whatever_changes_a_result_changes_its_key(changed: dict[str, object]) -> None:
    assert key(**changed) != key()  # type: ignore[arg-type]


def test_properties_are_answered_in_their_order() -> None:
    questions = [CustomQuestion(None, schema) for schema in (ONE_WAY, OTHER_WAY)]
    assert ONE_WAY == OTHER_WAY
    assert len({key(AnalysisRequest(question)) for question in questions}) == 2
