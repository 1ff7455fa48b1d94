"""What provisioning does, one write at a time, and what it was decided from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

BillingKind: TypeAlias = Literal["product", "price", "portal", "endpoint"]
LicensingKind: TypeAlias = Literal[
    "licence-product", "entitlement", "policy", "attachment", "token"
]
Kind: TypeAlias = BillingKind | LicensingKind
Action: TypeAlias = Literal["create", "change", "retire"]
Object: TypeAlias = Mapping[str, Any]

BILLING_KINDS: tuple[Kind, ...] = ("product", "price", "portal", "endpoint")
MARK = "store"
"""``metadata.shimmy`` of what is ours and has no key of its own at Stripe."""


@dataclass(frozen=True, slots=True)
class PriceOf:
    """Stands for the id of a plan's price that an earlier step makes."""

    plan: str

    def __str__(self) -> str:
        return f"(the new price of {self.plan})"


@dataclass(frozen=True, slots=True)
class Change:
    """One setting, by its path within the object; ``before`` is what was found."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Step:
    """One write.

    ``key``         what the object is called here: a plan, a code, a mark
    ``id``          Stripe's or Keygen's, of what is changed or retired
    ``attributes``  what is sent; may contain PriceOf
    ``besides``     ids of ours of this kind that exist already where one is created
    """

    action: Action
    kind: Kind
    key: str
    id: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    besides: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BillingFound:
    """Stripe's objects as it shows them; ours and others'."""

    products: tuple[Object, ...] = ()
    prices: tuple[Object, ...] = ()
    portals: tuple[Object, ...] = ()
    endpoints: tuple[Object, ...] = ()


@dataclass(frozen=True, slots=True)
class LicensingFound:
    """Keygen's resources, each as its attributes with its ``id``; ours and others'.

    Policies also have ``product`` (an id) and ``entitlements`` (codes); tokens are those of our
    product. ``public_key``: what the account signs its replies with, 64 hex digits, or empty.
    """

    products: tuple[Object, ...] = ()
    entitlements: tuple[Object, ...] = ()
    policies: tuple[Object, ...] = ()
    tokens: tuple[Object, ...] = ()
    public_key: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """``held``: the names of made secrets that are kept where the profile says."""

    billing: BillingFound
    licensing: LicensingFound
    held: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Plan:
    """``steps`` in an order that may be cut off anywhere; ``notes`` for a person to read."""

    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()


def secret_name(kind: Kind, identifier: str) -> str:
    """What the secret of an endpoint or a token is kept as."""
    return f"{kind}-{identifier}"
