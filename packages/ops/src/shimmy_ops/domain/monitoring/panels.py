"""A picture as panels and as a line: the terminal and the page show it in the same words."""

from __future__ import annotations

from dataclasses import dataclass

from shimmy_ops.domain.monitoring.business_panels import (
    drift_panel,
    losses_panel,
    revenue_panel,
    support_panel,
)
from shimmy_ops.domain.monitoring.panel import (
    Mark,
    Panel,
)
from shimmy_ops.domain.monitoring.picture import (
    Alarms,
    Picture,
    Unknown,
)
from shimmy_ops.domain.monitoring.service_panels import (
    alarms_panel,
    alerts_panel,
    availability_panel,
    delivery_panel,
    mail_panel,
    objectives_panel,
    requests_panel,
    webhooks_panel,
)
from shimmy_ops.domain.monitoring.wording import (
    hours,
    moment,
    of_unit,
    plain,
    plural,
    share,
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Everything in a line: ``mark`` is bad where somebody should look, unknown where we cannot."""

    mark: Mark
    text: str


def decide_verdict(picture: Picture) -> Verdict:
    """What is wrong first, then what is not known."""
    missed = sum(one.state == "missed" for one in picture.objectives)
    wrong = [
        plural(missed, "objective missed", "objectives missed") if missed else "",
        _some(len([one for one in picture.alerts if one.state == "firing"]), "alert"),
        _some(len(picture.alarms.open) if isinstance(picture.alarms, Alarms) else 0, "alarm"),
    ]
    unread = sum(isinstance(one, Unknown) for one in _sections(picture))
    unclear = sum(one.state == "unknown" for one in picture.objectives)
    dark = [
        f"{plural(unread, 'source')} not readable" if unread else "",
        plural(unclear, "objective") + " not known" if unclear else "",
    ]
    said = ", ".join(one for one in [*wrong, *dark] if one)
    if any(wrong):
        return Verdict("bad", said)
    if any(dark) or not picture.objectives:
        return Verdict("unknown", said or "no objective is measured")
    return Verdict("good", "all objectives held, nothing to look at")


def _some(number: int, one: str) -> str:
    return plural(number, one) if number else ""


def _sections(picture: Picture) -> tuple[object, ...]:
    return (
        picture.requests, picture.availability, picture.webhooks, picture.stripe_delivery,
        picture.outbox, picture.alarms, picture.drift, picture.losses, picture.revenue,
        picture.support,
    )  # fmt: skip


def one_line(picture: Picture) -> str:
    """A sample as a line of text, for logs and where there is no terminal."""
    verdict = decide_verdict(picture)
    words = {"good": "ok", "bad": "TROUBLE", "unknown": "unclear", "none": ""}
    figures = "  ".join(f"{one.id} {of_unit(one.measured, one.unit)}" for one in picture.objectives)
    taken = f"{picture.taken:%Y-%m-%dT%H:%M:%SZ}"
    return plain(
        f"{taken} {picture.profile} {words[verdict.mark]}: {verdict.text}  {figures}", 2000
    )


def make_panels(picture: Picture) -> tuple[Panel, ...]:
    """In the order of how soon somebody wants to see it."""
    return (
        objectives_panel(picture.objectives),
        alerts_panel(picture),
        alarms_panel(picture),
        availability_panel(picture.availability),
        requests_panel(picture.requests),
        webhooks_panel(picture.webhooks),
        delivery_panel(picture.stripe_delivery),
        mail_panel(picture.outbox),
        drift_panel(picture.drift),
        revenue_panel(picture.revenue),
        losses_panel(picture.losses),
        support_panel(picture.support),
    )


def taken_at(picture: Picture) -> str:
    """When, of which hours, how much of them was seen."""
    window = picture.window
    covered = share(window.coverage)
    return f"{moment(picture.taken)}, last {hours(window.hours)}, {covered} of it sampled"
