"""Which secrets can be replaced, and the steps in which each is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal, TypeAlias, get_args

from shimmy_ops.domain.credentials import MAIL, STRIPE_KEY

Kind: TypeAlias = Literal[
    "webhook-secret",
    "keygen-token",
    "stripe-key",
    "mail",
    "store-secret",
    "operator-token",
    "metrics-token",
]
Step: TypeAlias = Literal[
    "new-made",
    "new-works",
    "both-told",
    "both-believed",
    "new-hears",
    "old-quiet",
    "new-first",
    "old-outlived",
    "scrapers-told",
    "new-told",
    "old-refused",
    "old-ended",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

VARIABLES: Mapping[Kind, str] = {
    "webhook-secret": "SHIMMY_STORE_WEBHOOK_SECRETS",
    "keygen-token": "SHIMMY_STORE_KEYGEN_TOKEN",
    "stripe-key": "SHIMMY_STORE_STRIPE_KEY",
    "mail": "SHIMMY_STORE_MAIL",
    "store-secret": "SHIMMY_STORE_SECRET",
    "operator-token": "SHIMMY_STORE_OPERATOR_TOKEN",
    "metrics-token": "SHIMMY_STORE_METRICS_TOKEN",
}
"""By which the store is told each."""

STEPS: Mapping[Kind, tuple[Step, ...]] = {
    "webhook-secret": (
        "new-made", "both-told", "both-believed", "new-hears", "old-quiet", "new-told",
        "old-refused", "old-ended",
    ),
    "keygen-token": ("new-made", "new-works", "new-told", "old-ended"),
    "stripe-key": ("new-works", "new-told", "old-ended"),
    "mail": ("new-works", "new-told", "old-ended"),
    "store-secret": ("new-made", "both-told", "new-first", "old-outlived", "new-told"),
    "operator-token": ("new-made", "both-told", "both-believed", "new-told", "old-refused"),
    "metrics-token": (
        "new-made", "both-told", "both-believed", "scrapers-told", "new-told", "old-refused",
    ),
}  # fmt: skip

TITLES: Mapping[Step, str] = {
    "new-made": "a new one is made and kept",
    "new-works": "the new one works, and may what it must",
    "both-told": "the store runs with both",
    "both-believed": "the store believes both",
    "new-hears": "the new endpoint hears everything",
    "old-quiet": "the old endpoint has nothing pending, and is switched off",
    "new-first": "the store signs with the new one",
    "old-outlived": "nothing that the old one signed is alive",
    "scrapers-told": "Prometheus has the new one",
    "new-told": "the store runs with the new one alone",
    "old-refused": "the old one is refused, the new one believed",
    "old-ended": "the old one is ended where it came from",
}

GIVEN: Mapping[Kind, str] = {"stripe-key": f"new-{STRIPE_KEY}", "mail": f"new-{MAIL}"}
"""What the operator gives, by the name that it is looked up by; all others are made."""

SIGNED_FOR = timedelta(days=7)
"""The longest life of what the store signs: the link that merges two customers. Sign-in links live
15 minutes, sessions an hour; forms are believed as long as the secret is known."""


def kept_name(kind: Kind, which: Literal["old", "new"]) -> str:
    """What a secret is kept as while it is being replaced."""
    return f"rotation-{which}-{kind}"
