"""The catalog of plans: the five tiers as sold, and every way to get it wrong."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from shimmy_store import wiring
from shimmy_store.cli.main import main
from shimmy_store.domain.catalog import PLAN_IDS, parse_catalog
from shimmy_store.errors import CatalogError

CONTRACTS = Path(__file__).resolve().parents[3] / "contracts"
PLANS = CONTRACTS / "plans.json"
SCHEMA: dict[str, Any] = json.loads((CONTRACTS / "plans.schema.json").read_text())


def _valid(data: Any) -> bool:
    """By the published schema; on Pyodide, which has no such package, as we read it ourselves."""
    if find_spec("jsonschema") is None:
        try:
            parse_catalog(data)
        except CatalogError:
            return False
        return True
    import jsonschema

    return bool(jsonschema.Draft202012Validator(SCHEMA).is_valid(data))


@pytest.fixture
def data() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(PLANS.read_text())
    return copy.deepcopy(loaded)


def test_the_tiers_are_sold_as_promised() -> None:
    catalog = wiring.catalog()
    assert [
        (plan.id, plan.unit_amount, plan.interval, plan.pages_per_month, plan.machines)
        for plan in catalog.plans
    ] == [
        ("developer", 1200, "month", 2500, 1),
        ("professional", 2900, "month", 10_000, 1),
        ("startup", 7900, "month", 50_000, 5),
        ("enterprise", 29_900, "month", None, None),
        ("lifetime", 49_900, "once", None, 1),
    ]
    assert set(catalog.plan("lifetime").payment_methods) == {
        "card",
        "link",
        "alipay",
        "wechat_pay",
    }


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("id", "gold", "tiers"),
        ("name", "", "name"),
        ("unit_amount", 0, "unit_amount"),
        ("unit_amount", 12.5, "unit_amount"),
        ("unit_amount", True, "unit_amount"),
        ("interval", "year", "year"),
        ("pages_per_month", -1, "pages_per_month"),
        ("machines", 0, "machines"),
        ("entitlements", [], "entitlements"),
        ("entitlements", ["everything"], "everything"),
        ("payment_methods", [], "payment_methods"),
        ("payment_methods", "card", "payment_methods"),
        ("payment_methods", ["card", "card"], "twice"),
        ("payment_methods", ["cash"], "cash"),
        ("payment_methods", [["card"]], "payment_methods"),
    ],
)
def test_a_wrong_field_is_named(data: dict[str, Any], field: str, value: Any, named: str) -> None:
    data["plans"][0][field] = value
    with pytest.raises(CatalogError) as refused:
        parse_catalog(data)
    assert named in refused.value.message
    assert not _valid(data)


def test_missing_extra_or_reordered_plans_are_refused(data: dict[str, Any]) -> None:
    changes: tuple[Callable[[dict[str, Any]], object], ...] = (
        lambda d: d["plans"].pop(),
        lambda d: d["plans"].append(d["plans"][0]),
        lambda d: d["plans"].reverse(),
        lambda d: d["plans"][0].pop("machines"),
        lambda d: d["plans"][0].update(extra=1),
        lambda d: d.update(currency="eur"),
        lambda d: d.pop("currency"),
    )
    for change in changes:
        changed = copy.deepcopy(data)
        change(changed)
        with pytest.raises(CatalogError):
            parse_catalog(changed)
        assert not _valid(changed)


@pytest.mark.parametrize("data", [None, [], 3, {"currency": "usd", "plans": None}])
def test_what_is_no_catalog_at_all_is_refused(data: Any) -> None:
    with pytest.raises(CatalogError):
        parse_catalog(data)
    assert not _valid(data)


def test_the_published_schema_accepts_what_is_sold(data: dict[str, Any]) -> None:
    import jsonschema

    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert _valid(data)
    assert all(plan.entitlements == ("vision",) for plan in parse_catalog(data).plans)


def test_the_command_prints_the_catalog(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plans", "--json"]) == 0
    assert [plan["id"] for plan in json.loads(capsys.readouterr().out)] == list(PLAN_IDS)
    assert main(["plans"]) == 0
    assert "$299/month" in capsys.readouterr().out
