"""Who is let in while many are being answered: too many at once, and nobody is answered in time."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["health", "webhook", "visit"]
Admission: TypeAlias = Literal["let-in", "busy"]

# At twice the rate that was asked for, so many are answered within half a second. Each kind has
# places of its own: pages that wait for a slow Stripe keep no event out.
MOST_AT_ONCE: Final = {"webhook": 64, "visit": 128}
BUSY_SECONDS: Final = 5
"""When to come back; Stripe comes back by itself, and later."""


def decide_admission(kind: Kind, under_way: int) -> Admission:
    """``under_way``: how many of this kind are being answered. Who looks whether it lives may."""
    if kind == "health" or under_way < MOST_AT_ONCE[kind]:
        return "let-in"
    return "busy"
