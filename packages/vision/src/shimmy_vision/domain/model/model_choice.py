"""Which version to run on this machine when nobody said."""

from __future__ import annotations

from collections.abc import Collection

from shimmy_vision.domain.model.model_family import FAMILIES, ModelFamily

LARGE_GPU = 8_000_000_000
"""From this much GPU memory (bytes) on, 4.5 fits with its context and reads better."""


def recommend_model(gpu_memory: int | None) -> ModelFamily:
    """4.6 on a CPU (None) and on smaller GPUs, 4.5 from 8 GB."""
    return "4.5" if gpu_memory is not None and gpu_memory >= LARGE_GPU else "4.6"


def choose_model(gpu_memory: int | None, installed: Collection[ModelFamily]) -> ModelFamily:
    """The recommended version if it is installed, else the newest that is, else recommended."""
    recommended = recommend_model(gpu_memory)
    if recommended in installed or not installed:
        return recommended
    return next(family for family in FAMILIES if family in installed)
