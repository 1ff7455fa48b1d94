"""What the store's desk says, as sections of the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from shimmy_ops.domain.monitoring.picture import Alarm, Alarms, Outbox, Spread, Webhooks
from shimmy_ops.errors import DeskError

Document = Mapping[str, Any]
_HIDDEN = "…"


def webhooks_of(figures: Document) -> Webhooks:
    """Raises DeskError for figures of another shape, as the others here."""
    try:
        events = figures["events"]
        states = events["by_state"]
        return Webhooks(
            int(events["heard"]),
            int(states.get("pending", 0)),
            int(states.get("parked", 0)),
            _seconds(events["oldest_pending_seconds"]),
            _spread(events["delivery"]),
            _spread(events["settling"]),
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise _nonsense("events") from error


def outbox_of(figures: Document) -> Outbox:
    """Mail of the store."""
    try:
        mail = figures["mail"]
        return Outbox(
            int(mail["waiting"]),
            int(mail["parked"]),
            int(mail["sent"]),
            _seconds(mail["oldest_waiting_seconds"]),
            _spread(mail["sending"]),
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise _nonsense("mail") from error


def alarms_of(listed: Sequence[Document]) -> Alarms:
    """Open ones; a subject with an address in it is not shown."""
    try:
        found = [
            Alarm(str(one["code"]), _subject(str(one["subject"])), _moment(one["raised"]))
            for one in listed
        ]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise _nonsense("alarms") from error
    return Alarms(tuple(sorted(found, key=lambda one: one.raised)))


def customers_of(figures: Document) -> int | None:
    """How many have a licence; None where the store does not say."""
    counts = figures.get("customers")
    found = counts.get("with_licence") if isinstance(counts, Mapping) else None
    return found if isinstance(found, int) else None


def failing_checks(health: Any) -> tuple[str, ...]:
    """The store's own checks that are not well."""
    checks = health.get("checks") if isinstance(health, Mapping) else None
    if not isinstance(checks, Mapping):
        return ()
    return tuple(f"{name}: {state}" for name, state in checks.items() if state != "ok")


def _subject(subject: str) -> str:
    return _HIDDEN if "@" in subject else subject


def _spread(document: Document) -> Spread:
    each = (_seconds(document[name]) for name in ("p50", "p95", "p99", "max"))
    return Spread(int(document["count"]), *each)


def _seconds(value: Any) -> float | None:
    return None if value is None else float(value)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _nonsense(what: str) -> DeskError:
    return DeskError(
        "desk-malformed",
        f"What the store says of its {what} is of another shape than expected.",
        hint="Are store and operator's tools of the same version?",
    )
