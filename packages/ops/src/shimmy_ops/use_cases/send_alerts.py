"""Follow what is wrong, and tell who has to know."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from shimmy_ops.domain.monitoring.alerting import (
    KnownAlert,
    Notice,
    due_for,
    follow_conditions,
    forget_finished,
    note_sending,
)
from shimmy_ops.domain.monitoring.conditions import Judged
from shimmy_ops.errors import OpsError
from shimmy_ops.ports.monitoring import AlertBook, AlertChannel


def send_alerts(
    book: AlertBook,
    channels: Sequence[AlertChannel],
    judged: Iterable[Judged],
    profile: str,
    now: datetime,
    remind: timedelta,
) -> tuple[KnownAlert, ...]:
    """The alerts that are known now. What could not be sent is due again at the next call.

    Kept after each channel: a run that is cut off tells at most one channel twice. Raises
    MonitorError, KeepingError where alerts cannot be kept.
    """
    with book.hold() as held:
        known = follow_conditions(held.read(), judged, now)
        for channel in channels:
            due = due_for(known, channel.name, now, remind)
            if due:
                failed = not _sent(channel, Notice(profile, due))
                known = note_sending(known, channel.name, due, now, failed)
                held.keep(known)
        known = forget_finished(known, [channel.name for channel in channels])
        held.keep(known)
    return known


def _sent(channel: AlertChannel, notice: Notice) -> bool:
    try:
        channel.send(notice)
    except OpsError:
        return False
    return True
