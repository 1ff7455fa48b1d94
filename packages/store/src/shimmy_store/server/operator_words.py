"""How the operator's answers are written: times in ISO 8601 and UTC, always to the microsecond."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from shimmy_store.domain.figures import Spread
from shimmy_store.domain.ledger_dump import TABLES, Value
from shimmy_store.ports.ledger_desk import CustomerFile, KnownAlarm
from shimmy_store.use_cases.show_figures import Figures

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def written(moment: datetime) -> str:
    """2026-11-26T04:11:44.123456Z."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _maybe(moment: datetime | None) -> str | None:
    return None if moment is None else written(moment)


def _age(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else (now - moment).total_seconds()


def figures_written(figures: Figures, facts: Mapping[str, Any]) -> dict[str, Any]:
    """``facts`` are what the ledger does not know: version, mode, since when it serves."""
    ledger, now = figures.ledger, figures.now
    states = {one: ledger.events.states.get(one, 0) for one in _STATES}
    return {
        "now": written(now),
        "since": written(figures.since),
        **facts,
        "schema": ledger.schema,
        "events": {
            "by_state": states,
            "heard": sum(ledger.events.types.values()),
            "by_type": dict(ledger.events.types),
            "delivery": _spread(figures.delivery),
            "settling": _spread(figures.settling),
            "oldest_pending_seconds": _age(ledger.events.oldest_pending, now),
        },
        "mail": {
            "waiting": ledger.mail.waiting,
            "parked": ledger.mail.parked,
            "sent": figures.sending.count,
            "sending": _spread(figures.sending),
            "oldest_waiting_seconds": _age(ledger.mail.oldest_waiting, now),
        },
        "customers": {
            "count": ledger.customers.count,
            "with_licence": ledger.customers.with_licence,
            "merged": ledger.customers.merged,
            "by_plan": dict(ledger.customers.plans),
        },
        "alarms": [alarm_written(one) for one in ledger.alarms],
    }


_STATES = ("pending", "done", "unknown", "parked")


def _spread(spread: Spread) -> dict[str, Any]:
    return asdict(spread)


def alarm_written(alarm: KnownAlarm) -> dict[str, Any]:
    """An open alarm."""
    return {"code": alarm.code, "subject": alarm.subject, "raised": written(alarm.raised)}


def file_written(file: CustomerFile) -> dict[str, Any]:
    """What is known of one customer."""
    record = file.record
    return {
        "customer": record.customer,
        "email": record.email,
        "plan": record.plan,
        "origin": record.origin,
        "changes": record.changes,
        "merged_into": record.merged_into or None,
        "erased": _maybe(record.erased),
        "settled": _maybe(record.settled),
        "look_again": _maybe(record.look_again),
        "events": [_written_fields(one) for one in file.events],
        "messages": [_written_fields(one) for one in file.messages],
        "alarms": [
            {**alarm_written(one), "acknowledged": _maybe(one.acknowledged)} for one in file.alarms
        ],
    }


def _written_fields(one: Any) -> dict[str, Any]:
    return {
        name: written(value) if isinstance(value, datetime) else value
        for name, value in asdict(one).items()
    }


def rows_written(table: str, rows: Sequence[tuple[Value, ...]]) -> list[dict[str, Any]]:
    """Rows for people: times in words, and an event's body as what it says."""
    return [_row(table, row) for row in rows]


def _row(table: str, row: tuple[Value, ...]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for column, value in zip(TABLES[table].columns, row, strict=True):
        if column.kind == "time" and isinstance(value, int):
            shown[column.name] = written(_EPOCH + timedelta(microseconds=value))
        else:
            shown[column.name] = value
    return shown
