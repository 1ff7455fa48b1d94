"""How moments and refusals are written in the licence state."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from shimmy_vision.domain.licence.licence_facts import Denial, Machine, read_moment

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def write_denial(denial: Denial) -> str:
    """As JSON."""
    machines = [
        [one.id, one.fingerprint, one.name, one.platform, one.since and one.since.isoformat()]
        for one in denial.machines
    ]
    expiry = denial.expiry and denial.expiry.isoformat()
    return json.dumps(
        [
            denial.code,
            denial.detail,
            stamp(denial.at),
            denial.licence,
            expiry,
            denial.max_machines,
            machines,
        ]
    )


def read_denial(text: str) -> Denial:
    """What ``write_denial`` wrote."""
    code, detail, at, licence, expiry, limit, machines = json.loads(text)
    return Denial(
        code,
        detail,
        EPOCH + at * MICROSECOND,
        licence,
        read_moment(expiry),
        limit,
        tuple(_read_machine(*fields) for fields in machines),
    )


def _read_machine(
    identifier: str, fingerprint: str, name: str, platform: str, since: str | None
) -> Machine:
    return Machine(identifier, fingerprint, name, platform, read_moment(since))


def stamp(when: datetime) -> int:
    """Microseconds since 1970."""
    return (when - EPOCH) // MICROSECOND


def moment_of(stamped: int | None) -> datetime | None:
    """What ``stamp`` made a number; None stays None."""
    return None if stamped is None else EPOCH + stamped * MICROSECOND
