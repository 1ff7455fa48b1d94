"""The plans on sale, read from ``contracts/plans.json`` and checked before anyone sees a price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from shimmy_store.errors import CatalogError

PlanId: TypeAlias = Literal["developer", "professional", "startup", "enterprise", "lifetime"]
Interval: TypeAlias = Literal["month", "once"]
PaymentMethod: TypeAlias = Literal["card", "link", "alipay", "wechat_pay"]

PLAN_IDS: tuple[PlanId, ...] = get_args(PlanId)
_KEYS = frozenset(
    {"id", "name", "unit_amount", "interval", "pages_per_month", "machines", "payment_methods"}
)


@dataclass(frozen=True, slots=True)
class Plan:
    """``unit_amount`` in the currency's smallest unit; None means unlimited."""

    id: PlanId
    name: str
    unit_amount: int
    interval: Interval
    pages_per_month: int | None
    machines: int | None
    payment_methods: tuple[PaymentMethod, ...]


@dataclass(frozen=True, slots=True)
class Catalog:
    """All five plans, in the order they are shown."""

    currency: str
    plans: tuple[Plan, ...]

    def plan(self, plan_id: PlanId) -> Plan:
        """The plan of this id."""
        return next(plan for plan in self.plans if plan.id == plan_id)


def parse_catalog(data: Mapping[str, Any]) -> Catalog:
    """Raises CatalogError naming the plan and field that are wrong."""
    if set(data) != {"currency", "plans"} or not isinstance(data["plans"], list):
        raise _wrong("the catalog", "needs exactly 'currency' and a list 'plans'")
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
    _check_methods(name, entry["payment_methods"])
    return Plan(
        entry["id"],
        entry["name"],
        _positive(name, "unit_amount", entry["unit_amount"]),
        entry["interval"],
        _limit(name, "pages_per_month", entry["pages_per_month"]),
        _limit(name, "machines", entry["machines"]),
        tuple(entry["payment_methods"]),
    )


def _check_methods(name: str, methods: Any) -> None:
    known = get_args(PaymentMethod)
    if not isinstance(methods, list) or not methods or len(set(methods)) != len(methods):
        raise _wrong(name, "needs a list of different payment methods")
    for method in methods:
        if method not in known:
            raise _wrong(name, f"has the unknown payment method {method!r}")


def _limit(name: str, field: str, value: Any) -> int | None:
    return None if value is None else _positive(name, field, value)


def _positive(name: str, field: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _wrong(name, f"needs a positive whole number as {field}, not {value!r}")
    return value


def _wrong(what: str, problem: str) -> CatalogError:
    return CatalogError("catalog-invalid", f"In contracts/plans.json {what} {problem}.")
