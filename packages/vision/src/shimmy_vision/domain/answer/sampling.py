"""Choosing the next token from scores."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SamplingRule:
    """``temperature`` 0 takes the best allowed token; otherwise nucleus sampling."""

    temperature: float = 0.0
    top_p: float = 0.8
    top_k: int = 100


# Below this, dividing by the temperature only overflows; the best token wins anyway.
_COLDEST = 1e-6
_EXTREME = 1e30  # stands for infinite scores, and is still finite when divided

GREEDY = SamplingRule()
# The values MiniCPM-V's authors publish for its examples.
SEEDED = SamplingRule(temperature=0.7)


def sampling_rule(seed: int | None, temperature: float | None, top_p: float | None) -> SamplingRule:
    """The caller's wishes; else the best token, or with a seed what the authors advise."""
    usual = GREEDY if seed is None else SEEDED
    return replace(
        usual,
        temperature=usual.temperature if temperature is None else temperature,
        top_p=usual.top_p if top_p is None else top_p,
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """``probability`` is the model's own, before the grammar's mask: its confidence."""

    token: int
    probability: float


def choose_token(
    logits: NDArray[np.float32],
    allowed: NDArray[np.bool_],
    rule: SamplingRule,
    rng: np.random.Generator,
) -> Choice:
    """Pick one token with ``allowed`` set; both arrays have shape (vocabulary,).

    Raises ValueError if nothing is allowed.
    """
    if rule.temperature < _COLDEST:
        # Copying a vocabulary's candidates out takes ten times as long as hiding all others.
        best = int(np.argmax(np.where(allowed, logits, -np.inf)))
        if allowed[best] and np.isfinite(logits[best]):
            return Choice(best, _probability(logits, best))
    candidates = np.flatnonzero(allowed)
    if candidates.size == 0:
        raise ValueError("the grammar allows no token")
    scores = logits[candidates].astype(np.float64)
    scores = np.nan_to_num(scores, nan=-_EXTREME, posinf=_EXTREME, neginf=-_EXTREME)
    if rule.temperature < _COLDEST:
        token = int(candidates[int(np.argmax(scores))])
    else:
        token = int(candidates[_sample(scores / rule.temperature, rule, rng)])
    return Choice(token, _probability(logits, token))


def _sample(scores: NDArray[np.float64], rule: SamplingRule, rng: np.random.Generator) -> int:
    order = np.argsort(-scores, kind="stable")[: max(1, rule.top_k)]
    weights = np.exp(scores[order] - scores[order[0]])
    cumulative = np.cumsum(weights / weights.sum())
    kept = int(np.searchsorted(cumulative, rule.top_p)) + 1
    point = rng.random() * cumulative[min(kept, len(cumulative)) - 1]
    return int(order[int(np.searchsorted(cumulative, point, side="right").clip(0, len(order) - 1))])


def _probability(logits: NDArray[np.float32], token: int) -> float:
    peak = float(np.max(logits))
    if not np.isfinite(peak):
        return 0.0
    share = np.exp(float(logits[token]) - peak) / float(np.exp(logits - peak).sum())
    return float(share) if np.isfinite(share) else 0.0
