"""A dashboard for Grafana on the store's metrics; the data source is a variable."""

from __future__ import annotations

import json
from dataclasses import dataclass

from shimmy_ops.domain.monitoring.objectives import DOWN_BUDGET, ERROR_BUDGET, P99_SECONDS
from shimmy_ops.domain.monitoring.prometheus_rules import JOB, P99_RECORD, VISITS, ratio_record
from shimmy_ops.domain.monitoring.store_metrics import (
    ALARMS,
    EVENTS,
    MAILS,
    MESSAGES,
    OLDEST_EVENT,
    OLDEST_MESSAGE,
    POSTPONED,
    REQUESTS,
    ROUNDS_FAILED,
    SETTLED,
    WEBHOOKS,
)

_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH, _HEIGHT, _COLUMNS = 8, 7, 3


@dataclass(frozen=True, slots=True)
class _Plot:
    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    limit: float | None = None


_PLOTS = (
    _Plot("Errors, 5 minutes", "percentunit",
          ((ratio_record("error-rate", 5 / 60), "5xx"),), ERROR_BUDGET),
    _Plot("Not available, 1 hour", "percentunit",
          ((ratio_record("availability", 1), "down"),), DOWN_BUDGET),
    _Plot("99 % of requests within", "s", ((P99_RECORD, "p99"),), P99_SECONDS),
    _Plot("Requests", "reqps",
          ((f"sum by (endpoint) (rate({REQUESTS}{{{VISITS}}}[5m]))", "{{endpoint}}"),)),
    _Plot("Answers by status", "reqps",
          ((f"sum by (status) (rate({REQUESTS}[5m]))", "{{status}}"),)),
    _Plot("Webhooks", "cps", ((f"sum by (outcome) (rate({WEBHOOKS}[5m]))", "{{outcome}}"),)),
    _Plot("Events settled and postponed", "cps",
          ((f"sum(rate({SETTLED}[5m]))", "settled"), (f"sum(rate({POSTPONED}[5m]))", "postponed"))),
    _Plot("Events in the ledger", "short", ((f"max by (state) ({EVENTS})", "{{state}}"),)),
    _Plot("Oldest open event", "s", ((f"max({OLDEST_EVENT})", "age"),), 600),
    _Plot("Mail", "cps", ((f"sum by (outcome) (rate({MAILS}[5m]))", "{{outcome}}"),)),
    _Plot("Outbox", "short", ((f"max by (state) ({MESSAGES})", "{{state}}"),)),
    _Plot("Oldest waiting mail", "s", ((f"max({OLDEST_MESSAGE})", "age"),), 1800),
    _Plot("Alarms open", "short", ((f"max({ALARMS})", "alarms"),), 1),
    _Plot("Rounds of work that failed", "cps",
          ((f"sum by (work) (rate({ROUNDS_FAILED}[5m]))", "{{work}}"),)),
    _Plot("Probes answered", "short", ((f'min(up{{job="{JOB}"}})', "up"),)),
)  # fmt: skip


def dashboard_document() -> dict[str, object]:
    """What Grafana imports."""
    return {
        "title": "Shimmy store",
        "uid": "shimmy-store",
        "tags": ["shimmy"],
        "timezone": "utc",
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "1m",
        "time": {"from": "now-24h", "to": "now"},
        "annotations": {"list": []},
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Prometheus",
                    "type": "datasource",
                    "query": "prometheus",
                    "refresh": 1,
                }
            ]
        },
        "panels": [_panel(number, plot) for number, plot in enumerate(_PLOTS)],
    }


def dashboard_text() -> str:
    """The file."""
    return json.dumps(dashboard_document(), indent=2) + "\n"


def _panel(number: int, plot: _Plot) -> dict[str, object]:
    row, column = divmod(number, _COLUMNS)
    steps: list[dict[str, object]] = [{"color": "green", "value": None}]
    if plot.limit is not None:
        steps.append({"color": "red", "value": plot.limit})
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": plot.title,
        "datasource": _SOURCE,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {
            "defaults": {
                "unit": plot.unit,
                "min": 0,
                "thresholds": {"mode": "absolute", "steps": steps},
                "custom": {"thresholdsStyle": {"mode": "off" if plot.limit is None else "line"}},
            },
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _SOURCE,
                "expr": expression,
                "legendFormat": legend,
            }
            for index, (expression, legend) in enumerate(plot.queries)
        ],
    }
