"""The same objectives and alerts for Prometheus: rules as a file, from the same definitions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from shimmy_ops.domain.monitoring.burning import BURN_RULES, LEAST_BAD, BurnRule
from shimmy_ops.domain.monitoring.conditions import EVENT_SECONDS, MESSAGE_SECONDS
from shimmy_ops.domain.monitoring.objectives import P99_SECONDS, RATIOS
from shimmy_ops.domain.monitoring.store_metrics import (
    ALARMS,
    BUCKETS,
    EVENTS,
    MESSAGES,
    OLDEST_EVENT,
    OLDEST_MESSAGE,
    REQUESTS,
    ROUNDS_FAILED,
)

JOB = "shimmy-store"
# Ours, not visitors': the same that domain/monitoring/store_metrics.is_visit leaves out.
VISITS = 'endpoint!~"health|metrics|operator_.*"'
P99_RECORD = "shimmy_store:request_seconds:p99_5m"
_BAD = f'status=~"5..",{VISITS}'


def window_name(hours: float) -> str:
    """As Prometheus writes a span: 5m, 6h, 3d."""
    if hours < 1:
        return f"{round(hours * 60)}m"
    return f"{round(hours / 24)}d" if hours % 24 == 0 else f"{round(hours)}h"


def ratio_record(objective: str, hours: float) -> str:
    """The name of a recorded share of what was bad."""
    return f"shimmy_store:{objective.replace('-', '_')}:bad_ratio_{window_name(hours)}"


def rules_document() -> dict[str, object]:
    """Groups of recording and alerting rules."""
    return {
        "groups": [
            {"name": "shimmy-store-records", "interval": "30s", "rules": list(_records())},
            {"name": "shimmy-store-alerts", "rules": [*_burns(), *_thresholds()]},
        ]
    }


def rules_text() -> str:
    """The file: JSON is YAML, laid out so that people can read it."""
    heading = (
        "# Made by `shimmy-ops monitor rules`: change domain/monitoring there, not this file.\n"
        f'# Scrape the store\'s /metrics as job "{JOB}", every 60 s, with its metrics token.\n'
    )
    return heading + "\n".join(_yaml(rules_document(), 0)) + "\n"


def _records() -> Iterator[Mapping[str, str]]:
    for hours in _windows():
        span = window_name(hours)
        for objective, expression in (
            ("error-rate", _error_ratio(span)),
            ("availability", f'1 - avg_over_time(up{{job="{JOB}"}}[{span}])'),
        ):
            yield {"record": ratio_record(objective, hours), "expr": expression}
    yield {"record": P99_RECORD, "expr": _p99("5m")}


def _windows() -> list[float]:
    return sorted({one for rule in BURN_RULES for one in (rule.long_hours, rule.short_hours)})


def _error_ratio(span: str) -> str:
    # Without an error there is no series with 5xx at all.
    bad = f"(sum(rate({REQUESTS}{{{_BAD}}}[{span}])) or vector(0))"
    return f"{bad} / sum(rate({REQUESTS}{{{VISITS}}}[{span}]))"


def _p99(span: str) -> str:
    return f"histogram_quantile(0.99, sum by (le) (rate({BUCKETS}{{{VISITS}}}[{span}])))"


def _burns() -> Iterator[Mapping[str, object]]:
    for ratio in RATIOS:
        for rule in BURN_RULES:
            yield _burn(ratio.id, ratio.budget, rule)


def _burn(objective: str, budget: float, rule: BurnRule) -> Mapping[str, object]:
    bound = f"{rule.factor:g} * {budget:g}"
    both = " and ".join(
        f"{ratio_record(objective, hours)} > {bound}"
        for hours in (rule.long_hours, rule.short_hours)
    )
    long = window_name(rule.long_hours)
    # As our own alerts: one failure among few is no burn.
    if objective == "error-rate":
        enough = f"sum(increase({REQUESTS}{{{_BAD}}}[{long}])) >= {LEAST_BAD}"
        both = f"({both}) and on() ({enough})"
    else:
        up = f'up{{job="{JOB}"}}[{long}]'
        failed = f"count_over_time({up}) - sum_over_time({up})"
        both = f"({both}) and on(job, instance) ({failed} >= {LEAST_BAD})"
    name = "".join(part.title() for part in objective.split("-"))
    return {
        "alert": f"ShimmyStore{name}Burns{long}",
        "expr": both,
        "labels": {"severity": rule.severity},
        "annotations": {
            "summary": f"The {objective} budget burns {rule.factor:g} times too fast over {long}."
        },
    }


def _thresholds() -> Iterator[Mapping[str, object]]:
    # A target that nobody scrapes any more has no `up` at all.
    down = f'up{{job="{JOB}"}} == 0 or absent(up{{job="{JOB}"}})'
    yield _alert("Down", down, "2m", "page", "The store does not answer.")
    late = f"max({OLDEST_EVENT}) > {EVENT_SECONDS:g}"
    yield _alert("EventsLate", late, "1m", "page", "Events wait for too long.")
    parked = f'max({EVENTS}{{state="parked"}}) > 0'
    yield _alert("EventsParked", parked, "1m", "ticket", "Events were given up.")
    mail = f"max({OLDEST_MESSAGE}) > {MESSAGE_SECONDS:g}"
    yield _alert("MailLate", mail, "1m", "page", "Mail waits for too long.")
    given_up = f'max({MESSAGES}{{state="parked"}}) > 0'
    yield _alert("MailParked", given_up, "1m", "ticket", "Mail was given up.")
    alarms = f"max({ALARMS}) > 0"
    yield _alert("AlarmsOpen", alarms, "1m", "ticket", "The store has alarms open.")
    failing = f"sum(increase({ROUNDS_FAILED}[15m])) > 5"
    yield _alert("RoundsFail", failing, "5m", "ticket", "The store's own work fails.")
    slow = f"{P99_RECORD} > {P99_SECONDS:g}"
    yield _alert("Slow", slow, "10m", "ticket", "One request in a hundred is too slow.")


def _alert(name: str, expression: str, last: str, severity: str, summary: str) -> dict[str, object]:
    return {
        "alert": f"ShimmyStore{name}",
        "expr": expression,
        "for": last,
        "labels": {"severity": severity},
        "annotations": {"summary": summary},
    }


def _yaml(value: object, depth: int) -> Iterator[str]:
    """Block style; every text is quoted as JSON does, which YAML reads the same."""
    room = "  " * depth
    if isinstance(value, Mapping):
        for name, below in value.items():
            if isinstance(below, Mapping | list):
                yield f"{room}{name}:"
                yield from _yaml(below, depth + 1)
            else:
                yield f"{room}{name}: {json.dumps(below)}"
    elif isinstance(value, list):
        for one in value:
            first, *rest = _yaml(one, depth + 1)
            yield f"{room}- {first.lstrip()}"
            yield from rest
