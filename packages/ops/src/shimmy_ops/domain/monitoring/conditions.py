"""What is wrong now: decided from samples, each under a key that stays the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from shimmy_ops.domain.monitoring.burning import BURN_RULES, burns
from shimmy_ops.domain.monitoring.increases import History
from shimmy_ops.domain.monitoring.objectives import RATIOS, Ratio, share_of
from shimmy_ops.domain.monitoring.picture import Severity
from shimmy_ops.domain.monitoring.samples import Findings
from shimmy_ops.domain.monitoring.store_metrics import MESSAGES, OLDEST_EVENT, OLDEST_MESSAGE

EVENT_SECONDS, MESSAGE_SECONDS = 600.0, 1800.0
BACKUP_SECONDS, TICKET_SECONDS = 26 * 3600.0, 24 * 3600.0
_DOWN_PROBES, _BLIND_SAMPLES = 2, 3


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong."""

    key: str
    title: str
    detail: str
    severity: Severity


@dataclass(frozen=True, slots=True)
class Judged:
    """All that one rule has to say; ``troubles`` None where it cannot tell: then all stays.

    Keys of a rule are its name, or begin with it and a colon.
    """

    rule: str
    troubles: tuple[Trouble, ...] | None


def judge_conditions(history: History, now: datetime) -> tuple[Judged, ...]:
    """Every rule on the newest sample and those before it."""
    if not history.readings:
        return ()
    newest = history.readings[-1]
    gauges, found = newest.gauges, newest.findings
    return (
        _down(history),
        *(_burning(history, one, severity, now) for one in RATIOS for severity in _SEVERITIES),
        _older("events-late", "Events wait for too long", "page", gauges, OLDEST_EVENT),
        _late("events-undelivered", "Stripe cannot hand over events", "page",
              found.undelivered_seconds, EVENT_SECONDS, "endpoint" in found.unread),
        _older("mail-late", "Mail waits for too long", "page", gauges, OLDEST_MESSAGE),
        _parked(gauges),
        _drifted(history),
        _disputed(found),
        _alarms(found.alarms),
        _endpoint(found),
        _late("backup-old", "The last backup is too old", "ticket",
              found.backup_seconds, BACKUP_SECONDS, "backup" in found.unread),
        _blind(history),
        _late("tickets-late", "A ticket waits for its first reply", "ticket",
              found.unanswered_seconds, TICKET_SECONDS, "tickets" in found.unread),
    )  # fmt: skip


_SEVERITIES: tuple[Severity, ...] = ("page", "ticket")
_LIMITS: Mapping[str, float] = {OLDEST_EVENT: EVENT_SECONDS, OLDEST_MESSAGE: MESSAGE_SECONDS}


def _down(history: History) -> Judged:
    """Two probes in a row: one may be lost on the way."""
    last = history.probes[-_DOWN_PROBES:]
    if len(last) == _DOWN_PROBES and not any(one.up for one in last):
        detail = f"The last {_DOWN_PROBES} probes of /health failed."
        return _one("store-down", "The store is down", detail, "page")
    # One failure neither begins an alert nor ends one.
    return Judged("store-down", () if last and last[-1].up else None)


def _burning(history: History, ratio: Ratio, severity: Severity, now: datetime) -> Judged:
    rule_name = f"burn-{severity}-{ratio.id}"
    between, unsure = share_of(history, ratio.id), False
    for rule in (one for one in BURN_RULES if one.severity == severity):
        fires = burns(rule, between, ratio.budget, now)
        unsure = unsure or fires is None
        if fires:
            detail = (
                f"{ratio.title}: the budget burns at least {rule.factor:g} times too fast, over "
                f"{_span(rule.long_hours)} and over {_span(rule.short_hours)}."
            )
            return _one(rule_name, f"The {ratio.id} budget burns", detail, severity)
    return Judged(rule_name, None if unsure else ())


def _older(
    rule: str, title: str, severity: Severity, gauges: Mapping[str, float] | None, name: str
) -> Judged:
    age = None if gauges is None else gauges.get(name)
    return _late(rule, title, severity, age, _LIMITS[name], age is None)


def _late(
    rule: str, title: str, severity: Severity, age: float | None, limit: float, unread: bool
) -> Judged:
    """``age`` None is nothing that waits, unless it was not read."""
    if unread:
        return Judged(rule, None)
    if age is None or age <= limit:
        return Judged(rule, ())
    detail = f"The oldest is {_span(age / 3600)} old; {_span(limit / 3600)} are allowed."
    return _one(rule, title, detail, severity)


def _parked(gauges: Mapping[str, float] | None) -> Judged:
    if gauges is None:
        return Judged("mail-parked", None)
    parked = int(gauges.get(f"{MESSAGES}|parked", 0))
    if not parked:
        return Judged("mail-parked", ())
    return _one("mail-parked", "Mail was given up", f"{parked} messages are parked.", "ticket")


def _drifted(history: History) -> Judged:
    """What two readings of both accounts find: between buying and delivering lies a moment."""
    readings = [one.drift for one in history.books() if one.drift is not None][-2:]
    newest = history.readings[-1].findings.books
    if newest is None or newest.drift is None:
        return Judged("licence-drift", None)
    lasting = set.intersection(*map(set, readings)) if len(readings) > 1 else set[str]()
    if not lasting:
        return Judged("licence-drift", ())
    detail = f"{len(lasting)} customers or licences: `shimmy-ops monitor` lists them."
    return _one("licence-drift", "Licences are not as they were paid", detail, "page")


def _disputed(found: Findings) -> Judged:
    if found.books is None or found.books.disputes is None:
        return Judged("dispute", None)
    title = "A dispute asks for an answer"
    return Judged(
        "dispute",
        tuple(
            Trouble(f"dispute:{one}", title, f"{one}: answer it at Stripe.", "ticket")
            for one in found.books.disputes
        ),
    )


def _blind(history: History) -> Judged:
    """A source that was not read three times running; a store that is down has its own alert."""
    last = history.readings[-_BLIND_SAMPLES:]
    if len(last) < _BLIND_SAMPLES:
        return Judged("unread", None)
    unread = set.intersection(*(set(one.findings.unread) for one in last))
    if not history.probes[-1].up:
        unread -= {"metrics", "alarms"}
    newest = last[-1].findings.unread
    title, detail = "A source cannot be read", "{}: {}. What it tells is not watched meanwhile."
    return Judged(
        "unread",
        tuple(
            Trouble(f"unread:{name}", title, detail.format(name, newest[name]), "ticket")
            for name in sorted(unread)
        ),
    )


def _alarms(codes: Mapping[str, int] | None) -> Judged:
    if codes is None:
        return Judged("alarm", None)
    return Judged("alarm", tuple(_alarm_troubles(codes)))


def _alarm_troubles(codes: Mapping[str, int]) -> Iterator[Trouble]:
    for code, count in sorted(codes.items()):
        detail = f"{count} open: docs/store.md says what to do."
        yield Trouble(f"alarm:{code}", f"The store's alarm {code}", detail, "ticket")


def _endpoint(found: Findings) -> Judged:
    if found.endpoint is None:
        return Judged("webhook-endpoint", None)
    if found.endpoint == "enabled":
        return Judged("webhook-endpoint", ())
    detail = "Stripe hands over no event: `shimmy-ops provision --apply` repairs it."
    title = f"The webhook endpoint is {found.endpoint}"
    return _one("webhook-endpoint", title, detail, "page")


def _one(rule: str, title: str, detail: str, severity: Severity) -> Judged:
    return Judged(rule, (Trouble(rule, title, detail, severity),))


def _span(hours: float) -> str:
    """For people: "5 minutes", "26 hours", "3 days"."""
    for size, unit in ((24.0, "days"), (1.0, "hours"), (1 / 60, "minutes")):
        if hours >= 2 * size or (unit == "hours" and hours == size):
            return f"{hours / size:.3g} {unit}"
    return f"{hours * 3600:.3g} seconds"
