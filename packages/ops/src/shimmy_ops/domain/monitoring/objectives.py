"""What was promised, and whether it is held over the window."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from shimmy_ops.domain.monitoring.burning import ShareOf, burn_rates
from shimmy_ops.domain.monitoring.increases import History
from shimmy_ops.domain.monitoring.picture import (
    DriftFound,
    Objective,
    ObjectiveState,
    OutboxFound,
    RequestsFound,
    Spread,
    Unit,
    Unknown,
    WebhooksFound,
    Window,
)
from shimmy_ops.domain.monitoring.traffic import Share, down_share, error_share

ERROR_BUDGET, DOWN_BUDGET = 0.001, 0.001
P99_SECONDS, SETTLING_SECONDS, MAIL_SECONDS = 0.5, 10.0, 60.0

RatioId = Literal["error-rate", "availability"]


@dataclass(frozen=True, slots=True)
class Ratio:
    """An objective that is a share of what may be bad."""

    id: RatioId
    title: str
    budget: float


RATIOS = (
    Ratio("error-rate", "Requests answered with 5xx", ERROR_BUDGET),
    Ratio("availability", "Probes of /health that are answered well", DOWN_BUDGET),
)


def share_of(history: History, ratio: RatioId) -> ShareOf:
    """What is bad, between two times."""
    counted = error_share if ratio == "error-rate" else down_share

    def between(since: datetime, until: datetime) -> Share:
        return counted(history, since, until)

    return between


def judge_objectives(
    history: History,
    window: Window,
    now: datetime,
    requests: RequestsFound,
    webhooks: WebhooksFound,
    outbox: OutboxFound,
    drift: DriftFound,
) -> tuple[Objective, ...]:
    """All of them, in the order they are shown."""
    settling = webhooks if isinstance(webhooks, Unknown) else webhooks.settling
    sending = outbox if isinstance(outbox, Unknown) else outbox.sending
    return (
        *(_judge_ratio(history, one, window, now) for one in RATIOS),
        _judge_p99(requests),
        _judge_spread(
            "settling-p99", "Webhooks settled, 99 % within", SETTLING_SECONDS, settling, "event"
        ),
        _judge_spread("mail-p99", "Mail sent, 99 % within", MAIL_SECONDS, sending, "mail"),
        _judge_drift(drift),
    )


def _judge_ratio(history: History, ratio: Ratio, window: Window, now: datetime) -> Objective:
    between = share_of(history, ratio.id)
    share = between(now - timedelta(hours=window.hours), now)
    measured, more = share.ratio, ratio.id == "availability"
    state: ObjectiveState = "unknown" if measured is None else "held"
    if measured is not None and measured > ratio.budget:
        state = "missed"
    nothing = "no request in the window" if share.seen else "no sample in the window"
    total = share.total * ratio.budget if share.total else None
    left = None if total is None else total - share.bad
    minutes = None if total is None else window.hours * 60 * ratio.budget
    return Objective(
        ratio.id,
        ratio.title,
        "ratio",
        more,
        1 - ratio.budget if more else ratio.budget,
        1 - measured if more and measured is not None else measured,
        state,
        nothing if measured is None else "",
        total,
        left,
        burn_rates(between, ratio.budget, now),
        minutes,
        None if not total or left is None or minutes is None else minutes * left / total,
    )


def _judge_p99(requests: RequestsFound) -> Objective:
    if isinstance(requests, Unknown):
        return _plain("p99", "Requests answered, 99 % within", P99_SECONDS, None, requests.reason)
    return _plain(
        "p99",
        "Requests answered, 99 % within",
        P99_SECONDS,
        requests.overall.p99,
        "no request in the window",
    )


def _judge_spread(
    identifier: str, title: str, target: float, spread: Spread | Unknown, what: str
) -> Objective:
    if isinstance(spread, Unknown):
        return _plain(identifier, title, target, None, spread.reason)
    return _plain(identifier, title, target, spread.p99, f"no {what} in the window")


def _judge_drift(drift: DriftFound) -> Objective:
    title = "Licences that are not as they were paid"
    if isinstance(drift, Unknown):
        return _plain("drift", title, 0, None, drift.reason, "count")
    return _plain("drift", title, 0, float(len(drift.mismatches)), "", "count")


def _plain(
    identifier: str,
    title: str,
    target: float,
    measured: float | None,
    nothing: str,
    unit: Unit = "seconds",
) -> Objective:
    state: ObjectiveState = "unknown"
    if measured is not None:
        state = "held" if measured <= target else "missed"
    reason = nothing if measured is None else ""
    return Objective(
        identifier, title, unit, False, target, measured, state, reason, None, None, ()
    )
