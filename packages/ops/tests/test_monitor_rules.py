"""Rules and dashboard name only what the store really exports, with labels that it really has."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from operated_town import OperatedTown
from prometheus_client.parser import text_string_to_metric_families
from provisioning_town import ProvisioningTown

from shimmy_ops.domain.monitoring.burning import BURN_RULES
from shimmy_ops.domain.monitoring.grafana_dashboard import dashboard_document
from shimmy_ops.domain.monitoring.prometheus_rules import (
    VISITS,
    ratio_record,
    rules_document,
    rules_text,
    window_name,
)
from shimmy_ops.domain.monitoring.store_metrics import BORN, BOUNDS, SECONDS, is_visit

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
_METRIC = re.compile(r"\bshimmy_store[\w:]+")
_SELECTED = re.compile(r"(shimmy_store\w+)\{([^}]*)\}")
_BY = re.compile(r"by \((\w+)\) \((?:rate\()?(shimmy_store\w+)")


def _rules() -> list[dict[str, Any]]:
    groups: Any = rules_document()["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _expressions() -> list[str]:
    panels: Any = dashboard_document()["panels"]
    shown = [target["expr"] for panel in panels for target in panel["targets"]]
    return [rule["expr"] for rule in _rules()] + shown


def test_every_metric_and_label_is_the_stores(operated: OperatedTown) -> None:
    operated.store.buy("developer", "ada@example.com")
    with operated.desk() as desk:
        exported = list(text_string_to_metric_families(desk.metrics()))
    samples = [sample for family in exported for sample in family.samples]
    # Families that have counted nothing yet have no samples.
    names = {sample.name for sample in samples}
    names |= {f"{one.name}_total" if one.type == "counter" else one.name for one in exported}
    recorded = {rule["record"] for rule in _rules() if "record" in rule}
    used = {name for one in _expressions() for name in _METRIC.findall(one)}
    assert used - names == recorded & used
    assert BORN in names
    labels: dict[str, set[str]] = {}
    for sample in samples:
        labels.setdefault(sample.name, set()).update(sample.labels)
    selected = [
        (name, label)
        for one in _expressions()
        for name, inside in _SELECTED.findall(one)
        for label in re.findall(r"(\w+)(?:=~|!~|=|!=)", inside)
    ] + [(name, label) for one in _expressions() for label, name in _BY.findall(one)]
    assert len(selected) > 10
    for name, label in selected:
        assert name not in labels or label in labels[name], name
    bounds = {
        float(one.labels["le"]) for one in samples if one.name == f"{SECONDS}_bucket"
    } - {float("inf")}  # fmt: skip
    assert bounds == set(BOUNDS)


def test_the_file_is_yaml_of_the_same_rules() -> None:
    assert yaml.safe_load(rules_text()) == rules_document()


def test_every_burn_rule_is_there_with_its_windows_and_severity() -> None:
    alerts = {rule["alert"]: rule for rule in _rules() if "alert" in rule}
    recorded = {rule["record"] for rule in _rules() if "record" in rule}
    for rule in BURN_RULES:
        for objective, name in (("error-rate", "ErrorRate"), ("availability", "Availability")):
            found = alerts[f"ShimmyStore{name}Burns{window_name(rule.long_hours)}"]
            for hours in (rule.long_hours, rule.short_hours):
                record = ratio_record(objective, hours)
                assert record in recorded
                assert f"{record} > {rule.factor:g} * 0.001" in found["expr"]
            assert found["labels"] == {"severity": rule.severity}
    assert [window_name(one) for one in (5 / 60, 0.5, 1, 6, 24, 72)] == [
        "5m", "30m", "1h", "6h", "1d", "3d",
    ]  # fmt: skip


def test_one_lost_scrape_wakes_nobody_and_a_target_that_is_gone_does() -> None:
    """As our own alerts: two probes at least. One of sixty is over 14.4 times the budget."""
    alerts = {rule["alert"]: rule["expr"] for rule in _rules() if "alert" in rule}
    for name, expression in alerts.items():
        if name.startswith("ShimmyStoreAvailabilityBurns"):
            long = name.removeprefix("ShimmyStoreAvailabilityBurns")
            up = f'up{{job="shimmy-store"}}[{long}]'
            lost = f"count_over_time({up}) - sum_over_time({up}) >= 2"
            assert expression.endswith(f" and on(job, instance) ({lost})")
    assert 'or absent(up{job="shimmy-store"})' in alerts["ShimmyStoreDown"]


def test_rules_leave_out_the_same_endpoints_as_we_do() -> None:
    (pattern,) = re.findall(r'"(.*)"', VISITS)
    for endpoint in ("health", "metrics", "operator_figures", "buy", "healthy", "none"):
        assert (re.fullmatch(pattern, endpoint) is None) == is_visit(endpoint)


def test_the_dashboard_takes_its_data_source_from_a_variable() -> None:
    document: Any = json.loads(json.dumps(dashboard_document()))
    (variable,) = document["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    places = set()
    for panel in document["panels"]:
        sources = [panel["datasource"], *(one["datasource"] for one in panel["targets"])]
        assert {one["uid"] for one in sources} == {"${datasource}"}
        places.add((panel["gridPos"]["x"], panel["gridPos"]["y"]))
    assert len(places) == len(document["panels"]) == len({one["id"] for one in document["panels"]})


def test_the_command_writes_both_files(
    town: ProvisioningTown, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "rules" / "made"
    assert town.run(capsys, "monitor", "rules", "--out", str(folder)).code == 0
    assert yaml.safe_load((folder / "prometheus-rules.yml").read_text()) == rules_document()
    assert json.loads((folder / "grafana-dashboard.json").read_text()) == dashboard_document()
    (tmp_path / "file").write_text("")
    ran = town.run(capsys, "monitor", "rules", "--out", str(tmp_path / "file" / "x"))
    assert (ran.code, "rules-unwritable" in ran.err) == (1, True)
