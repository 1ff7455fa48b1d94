"""Which encoder and which precision, from what the machine says of itself."""

from __future__ import annotations

import dataclasses

import pytest

from shimmy_vision.domain.model.encoder_choice import (
    HELD,
    EncoderChoice,
    EncoderMachine,
    EncoderWish,
    Precision,
    decide_encoder,
    native_precisions,
    worth_keeping,
)

ZEN5 = EncoderMachine("x86_64", False, "2026.4", "", frozenset({"FP32", "BF16", "INT8"}))
AVX2 = dataclasses.replace(ZEN5, capabilities=frozenset({"FP32", "INT8"}))
APPLE = dataclasses.replace(ZEN5, machine="arm64", capabilities=frozenset({"FP32", "FP16", "INT8"}))
LIBMTMD = EncoderChoice(None)


@pytest.mark.parametrize(
    ("machine", "seconds", "precision"),
    [
        (ZEN5, {}, "bf16"),
        (ZEN5, {"f32": 0.1, "bf16": 0.05, "int8": 0.01}, "bf16"),
        (ZEN5, {"f32": 0.1, "bf16": 0.3}, "f32"),
        (ZEN5, {"bf16": 0.05}, "bf16"),
        (AVX2, {}, "f32"),
        (AVX2, {"int8": 0.01, "f32": 0.1}, "f32"),
        (APPLE, {}, "f16"),
    ],
)
def test_the_quickest_precision_that_holds_its_bound_is_taken(
    machine: EncoderMachine, seconds: dict[Precision, float], precision: Precision
) -> None:
    assert decide_encoder("auto", None, machine, seconds) == EncoderChoice(precision)
    assert precision in HELD


def test_a_precision_by_name_is_used_where_the_machine_has_it() -> None:
    assert decide_encoder("auto", "int8", ZEN5, {}).precision == "int8"
    assert decide_encoder("openvino", "bf16", AVX2, {}).precision == "f32"


@pytest.mark.parametrize(
    ("wish", "machine"),
    [
        ("mtmd", ZEN5),
        ("auto", dataclasses.replace(ZEN5, uses_gpu=True)),
        ("auto", dataclasses.replace(ZEN5, machine="riscv64")),
    ],
)
def test_libmtmd_encodes_where_it_is_due(wish: EncoderWish, machine: EncoderMachine) -> None:
    assert decide_encoder(wish, None, machine, {}) == LIBMTMD


def test_on_a_gpu_openvino_encodes_where_it_is_asked_for() -> None:
    machine = dataclasses.replace(ZEN5, uses_gpu=True)
    assert decide_encoder("openvino", None, machine, {}).precision == "bf16"


def test_a_problem_is_told() -> None:
    broken = dataclasses.replace(ZEN5, version="", problem="It is not installed.")
    for wish in ("auto", "openvino"):
        chosen = decide_encoder(wish, None, broken, {})
        assert chosen == EncoderChoice(None, "It is not installed.")
    assert decide_encoder("mtmd", None, broken, {}) == LIBMTMD


def test_single_precision_is_always_there() -> None:
    assert native_precisions(frozenset()) == ("f32",)
    assert set(native_precisions(ZEN5.capabilities)) == {"f32", "bf16", "int8"}


def test_only_large_projectors_are_kept() -> None:
    assert worth_keeping(1_108_746_944)
    assert not worth_keeping(2_000_000)
