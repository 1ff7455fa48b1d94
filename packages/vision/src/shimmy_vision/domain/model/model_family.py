"""The four MiniCPM-V versions this product runs on, and nothing else."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

ModelFamily: TypeAlias = Literal["4.6", "4.5", "4.0", "2.6"]
FAMILIES: tuple[ModelFamily, ...] = get_args(ModelFamily)
