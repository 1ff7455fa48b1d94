"""How a figure grows with another one: an exponent, and how far the points lie from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class GrowthLaw:
    """``y = factor * x ** exponent``; ``residuals`` are each point's share above or below it."""

    factor: float
    exponent: float
    residuals: tuple[float, ...]

    @property
    def worst(self) -> float:
        """The largest share by which a point misses the law."""
        return max(abs(one) for one in self.residuals)

    def told(self) -> dict[str, object]:
        """For JSON."""
        return {
            "factor": round(self.factor, 4),
            "exponent": round(self.exponent, 3),
            "residuals": [round(one, 3) for one in self.residuals],
            "worst_residual": round(self.worst, 3),
        }


def fit_law(points: Sequence[tuple[float, float]]) -> GrowthLaw:
    """Least squares of the logarithms; at least two different x, all of them above 0."""
    x, y = (np.log(np.array(one)) for one in zip(*points, strict=True))
    exponent, offset = np.polyfit(x, y, 1)
    misses = np.exp(y - (exponent * x + offset)) - 1
    return GrowthLaw(math.exp(offset), float(exponent), tuple(float(one) for one in misses))


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares: how much y grows for each x."""
    x, y = (np.array(one, dtype=float) for one in zip(*points, strict=True))
    return float(np.polyfit(x, y, 1)[0])
