"""Alerts over time: one a key, told when it begins, ends, and again while it lasts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shimmy_ops.domain.monitoring.conditions import Judged
from shimmy_ops.domain.monitoring.picture import Alert, AlertState, Severity

REMIND_HOURS = 4.0
_PAGES_FIRST: Mapping[Severity, int] = {"page": 0, "ticket": 1}


@dataclass(frozen=True, slots=True)
class Told:
    """What a channel last said of an alert, and when."""

    state: AlertState
    at: datetime


@dataclass(frozen=True, slots=True)
class KnownAlert:
    """An alert that is kept; ``told`` by the channel's name."""

    key: str
    rule: str
    title: str
    detail: str
    severity: Severity
    state: AlertState
    since: datetime
    told: Mapping[str, Told]
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Notice:
    """What goes out: about the store of ``profile``, nothing of anybody's."""

    profile: str
    alerts: tuple[KnownAlert, ...]


def follow_conditions(
    known: Sequence[KnownAlert], judged: Iterable[Judged], now: datetime
) -> tuple[KnownAlert, ...]:
    """What is known after this sample. A rule that cannot tell leaves its alerts as they are."""
    before = {one.key: one for one in known}
    after = dict(before)
    for rule in judged:
        if rule.troubles is None:
            continue
        now_wrong = {one.key for one in rule.troubles}
        for trouble in rule.troubles:
            held = before.get(trouble.key)
            lasting = held is not None and held.state == "firing"
            after[trouble.key] = KnownAlert(
                trouble.key,
                rule.rule,
                trouble.title,
                trouble.detail,
                trouble.severity,
                "firing",
                held.since if held is not None and lasting else now,
                held.told if held is not None else {},
                held.failed if held is not None else (),
            )
        for key, held in before.items():
            if held.rule == rule.rule and key not in now_wrong and held.state == "firing":
                after[key] = replace(held, state="resolved")
    return tuple(after.values())


def due_for(
    known: Iterable[KnownAlert], channel: str, now: datetime, remind: timedelta
) -> tuple[KnownAlert, ...]:
    """What a channel should say now: changes, and what it said long ago and still is."""
    return tuple(one for one in known if _is_due(one, one.told.get(channel), now, remind))


def _is_due(one: KnownAlert, told: Told | None, now: datetime, remind: timedelta) -> bool:
    if told is None:
        # Over before anybody heard of it.
        return one.state == "firing"
    if told.state != one.state:
        return True
    return one.state == "firing" and now - told.at >= remind


def note_sending(
    known: Iterable[KnownAlert],
    channel: str,
    sent: Iterable[KnownAlert],
    now: datetime,
    failed: bool,
) -> tuple[KnownAlert, ...]:
    """After a channel was tried; what failed is due again."""
    keys = {one.key for one in sent}
    return tuple(_noted(one, channel, now, failed) if one.key in keys else one for one in known)


def _noted(one: KnownAlert, channel: str, now: datetime, failed: bool) -> KnownAlert:
    others = tuple(name for name in one.failed if name != channel)
    if failed:
        return replace(one, failed=(*others, channel))
    return replace(one, told={**one.told, channel: Told(one.state, now)}, failed=others)


def forget_finished(known: Iterable[KnownAlert], channels: Sequence[str]) -> tuple[KnownAlert, ...]:
    """Without those that are over and of which every channel has said so, or never spoke."""
    return tuple(
        one
        for one in known
        if one.state == "firing"
        or any(one.told[name].state == "firing" for name in channels if name in one.told)
    )


def firing_alerts(known: Iterable[KnownAlert]) -> tuple[Alert, ...]:
    """For the picture: pages first, then oldest first."""
    firing = [one for one in known if one.state == "firing"]
    firing.sort(key=lambda one: (_PAGES_FIRST[one.severity], one.since, one.key))
    return tuple(
        Alert(
            one.key,
            one.title,
            one.detail,
            one.severity,
            one.state,
            one.since,
            max((told.at for told in one.told.values()), default=None),
            one.failed,
        )
        for one in firing
    )


def notice_subject(notice: Notice) -> str:
    """One line: what it is about, worst first."""
    firing = [one for one in notice.alerts if one.state == "firing"]
    named = sorted(firing or notice.alerts, key=lambda one: _PAGES_FIRST[one.severity])
    state = "firing" if firing else "resolved"
    more = f" and {len(notice.alerts) - 1} more" if len(notice.alerts) > 1 else ""
    return f"[shimmy {notice.profile}] {state}: {named[0].title}{more}"


def notice_text(notice: Notice) -> str:
    """Plain text, an alert a paragraph."""
    parts = [
        f"{one.state.upper()} ({one.severity}): {one.title}\n{one.detail}\n"
        f"Since {one.since.isoformat(timespec='seconds')}. Key: {one.key}\n"
        for one in notice.alerts
    ]
    return "\n".join(parts) + "\nshimmy-ops monitor shows all figures.\n"


def notice_document(notice: Notice) -> dict[str, object]:
    """As JSON, for the webhook."""
    return {
        "profile": notice.profile,
        "text": notice_subject(notice),
        "alerts": [
            {
                "key": one.key,
                "state": one.state,
                "severity": one.severity,
                "title": one.title,
                "detail": one.detail,
                "since": one.since.isoformat(),
            }
            for one in notice.alerts
        ],
    }


def trial_notice(profile: str, now: datetime) -> Notice:
    """What ``monitor alert-test`` sends."""
    detail = "Nothing is wrong: somebody tried whether alerts arrive."
    alert = KnownAlert(
        "alert-test", "alert-test", "Test of alerts", detail, "ticket", "firing", now, {}
    )
    return Notice(profile, (alert,))
