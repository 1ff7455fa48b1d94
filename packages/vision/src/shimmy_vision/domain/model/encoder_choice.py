"""Which encoder reads the slices on this machine, and in which precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

EncoderWish: TypeAlias = Literal["auto", "openvino", "mtmd"]
ENCODER_WISHES: tuple[EncoderWish, ...] = ("auto", "openvino", "mtmd")

Precision: TypeAlias = Literal["f32", "bf16", "f16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("f32", "bf16", "f16", "int8")

HELD: Mapping[Precision, float] = {"f32": 0.9999, "bf16": 0.999, "f16": 0.999}
"""The least cosine between a row and libmtmd's own, as tests and benchmarks hold it.

int8 is left out: how coarse it is depends on the weights, so each projector has to prove itself.
"""

INT8_HELD = 0.999
"""What int8 has to hold with a projector, on each row of each picture it is tried on."""

# Less than this of the next best's time, or the measurement's own noise decides.
_CLEARLY = 0.9

_MACHINES = frozenset({"x86_64", "amd64", "aarch64", "arm64"})
# Below this a slice takes milliseconds whatever computes it.
_WORTH_KEEPING = 64_000_000


@dataclass(frozen=True, slots=True)
class EncoderMachine:
    """``machine`` is the processor's family; ``version`` OpenVINO's, empty where ``problem`` tells

    why there is none; ``capabilities`` what its CPU plugin says it computes natively.
    """

    machine: str
    uses_gpu: bool
    version: str
    problem: str
    capabilities: frozenset[str]


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """``precision`` None: libmtmd. ``fallback`` says why OpenVINO is not used where it would be."""

    precision: Precision | None
    fallback: str = ""


def decide_encoder(
    wish: EncoderWish,
    asked: Precision | None,
    machine: EncoderMachine,
    seconds: Mapping[Precision, float],
) -> EncoderChoice:
    """``asked`` is a precision by name; ``seconds`` what a layer took in each, where measured."""
    if wish == "mtmd" or (wish == "auto" and machine.uses_gpu):
        return EncoderChoice(None)
    if wish == "auto" and machine.machine.lower() not in _MACHINES:
        return EncoderChoice(None)
    if machine.problem:
        return EncoderChoice(None, machine.problem)
    able = native_precisions(machine.capabilities)
    if asked is not None:
        return EncoderChoice(asked if asked in able else "f32")
    # What was not measured comes last, the narrowest first: it moves the fewest bytes.
    costs = [(seconds.get(one, _WIDTHS[one] * 1e3), one) for one in able if one in HELD]
    return EncoderChoice(min(costs)[1])


def int8_is_quicker(seconds: Mapping[Precision, float]) -> bool:
    """Whether a layer was measured to take clearly less time in int8 than in what is used else."""
    others = [taken for precision, taken in seconds.items() if precision in HELD]
    return bool(others) and seconds.get("int8", min(others)) <= _CLEARLY * min(others)


_WIDTHS: Mapping[Precision, int] = {"int8": 1, "bf16": 2, "f16": 2, "f32": 4}


def native_precisions(capabilities: frozenset[str]) -> tuple[Precision, ...]:
    """What is computed without emulation."""
    named: tuple[tuple[Precision, str], ...] = (("bf16", "BF16"), ("f16", "FP16"), ("int8", "INT8"))
    return ("f32", *(precision for precision, name in named if name in capabilities))


def worth_keeping(projector_bytes: int) -> bool:
    """Whether a projector is so large that measuring for it and keeping it compiled pay."""
    return projector_bytes >= _WORTH_KEEPING
