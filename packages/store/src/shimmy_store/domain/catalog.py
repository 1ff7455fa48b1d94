"""The plans on sale, read from ``contracts/plans.json`` and checked before anyone sees a price."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from shimmy_store.errors import CatalogError

PlanId: TypeAlias = Literal["developer", "professional", "startup", "enterprise", "lifetime"]
Interval: TypeAlias = Literal["month", "once"]
Entitlement: TypeAlias = Literal["vision"]
PaymentMethod: TypeAlias = Literal["card", "link", "alipay", "wechat_pay"]

PLAN_IDS: tuple[PlanId, ...] = get_args(PlanId)
_KEYS = frozenset(
    {
        "id",
        "name",
        "unit_amount",
        "interval",
        "pages_per_month",
        "machines",
        "entitlements",
        "payment_methods",
    }
)


# What a customer loses by going from the right to the left. Lifetime has no cap but one machine.
_RANKS: tuple[PlanId, ...] = ("developer", "professional", "lifetime", "startup", "enterprise")


def rank(plan: PlanId) -> int:
    """How much a plan is worth beside another."""
    return _RANKS.index(plan)


@dataclass(frozen=True, slots=True)
class Plan:
    """``unit_amount`` in the currency's smallest unit; None means unlimited."""

    id: PlanId
    name: str
    unit_amount: int
    interval: Interval
    pages_per_month: int | None
    machines: int | None
    entitlements: tuple[Entitlement, ...]
    payment_methods: tuple[PaymentMethod, ...]


@dataclass(frozen=True, slots=True)
class Catalog:
    """All five plans, in the order they are shown."""

    currency: str
    plans: tuple[Plan, ...]

    def plan(self, plan_id: PlanId) -> Plan:
        """The plan of this id."""
        return next(plan for plan in self.plans if plan.id == plan_id)


def parse_catalog(data: Any) -> Catalog:
    """Raises CatalogError naming the plan and field that are wrong."""
    if not isinstance(data, dict) or set(data) != {"currency", "plans"}:
        raise _wrong("the catalog", "needs exactly 'currency' and 'plans'")
    if not isinstance(data["plans"], list):
        raise _wrong("the catalog", "needs a list as 'plans'")
    if data["currency"] != "usd":
        raise _wrong("the catalog", f"has the currency {data['currency']!r}; prices are in usd")
    plans = tuple(_plan(entry) for entry in data["plans"])
    if tuple(plan.id for plan in plans) != PLAN_IDS:
        raise _wrong("the catalog", f"must list {', '.join(PLAN_IDS)} once each, in this order")
    return Catalog(data["currency"], plans)


def _plan(entry: Any) -> Plan:
    if not isinstance(entry, dict) or set(entry) != _KEYS:
        raise _wrong("a plan", f"needs exactly the fields {', '.join(sorted(_KEYS))}")
    name = f"plan {entry['id']!r}"
    if entry["id"] not in PLAN_IDS:
        raise _wrong(name, "is not one of the tiers")
    if not isinstance(entry["name"], str) or not entry["name"]:
        raise _wrong(name, "needs a name")
    if entry["interval"] not in get_args(Interval):
        raise _wrong(name, f"has the interval {entry['interval']!r}")
    return Plan(
        entry["id"],
        entry["name"],
        _positive(name, "unit_amount", entry["unit_amount"]),
        entry["interval"],
        _limit(name, "pages_per_month", entry["pages_per_month"]),
        _limit(name, "machines", entry["machines"]),
        _words(name, "entitlements", entry["entitlements"], get_args(Entitlement)),
        _words(name, "payment_methods", entry["payment_methods"], get_args(PaymentMethod)),
    )


def _words(name: str, field: str, words: Any, known: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(words, list) or not words:
        raise _wrong(name, f"needs a list with at least one of {', '.join(known)} as {field}")
    for word in words:
        if word not in known:
            raise _wrong(name, f"has {word!r} among its {field}, which are {', '.join(known)}")
        if words.count(word) > 1:
            raise _wrong(name, f"has {word!r} twice among its {field}")
    return tuple(words)


def _limit(name: str, field: str, value: Any) -> int | None:
    return None if value is None else _positive(name, field, value)


def _positive(name: str, field: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _wrong(name, f"needs a positive whole number as {field}, not {value!r}")
    return value


def _wrong(what: str, problem: str) -> CatalogError:
    return CatalogError("catalog-invalid", f"In contracts/plans.json {what} {problem}.")
