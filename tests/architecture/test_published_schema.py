"""The result's JSON Schema is published as a contract; the code and the file agree."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from shimmy_vision.domain.answer.analysis_request import MODES, CustomQuestion, StandardQuestion
from shimmy_vision.domain.answer.result_schema import result_schema

CONTRACTS = Path(__file__).resolve().parents[2] / "contracts"


@pytest.mark.parametrize("mode", [*MODES, "custom"])
def test_the_contract_is_what_the_code_publishes(mode: str) -> None:
    question = CustomQuestion() if mode == "custom" else StandardQuestion(mode)  # type: ignore[arg-type]
    schema = result_schema(question)
    jsonschema.Draft202012Validator.check_schema(schema)
    published = json.loads((CONTRACTS / f"result-{mode}.schema.json").read_text())
    assert published == schema, f"run: shimmy schema --mode {mode} > contracts/…"
