"""Times as results tell them: in milliseconds, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

_STAGES = ("fetch", "decode", "measure", "load", "encode", "prompt", "generate")


Name = TypeVar("Name", bound=str)


def stage_milliseconds(seconds: Mapping[Name, float]) -> dict[str, float]:
    """``meta.timings`` from the seconds of each stage."""
    taken = {str(stage): value for stage, value in seconds.items()}
    return {f"{stage}_ms": milliseconds(taken.get(stage, 0)) for stage in _STAGES}


def milliseconds(seconds: float) -> float:
    """Rounded to a tenth."""
    return round(seconds * 1000, 1)
