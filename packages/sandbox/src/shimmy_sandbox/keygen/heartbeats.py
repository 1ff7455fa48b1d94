"""Heartbeats: machines that say they live, and what happens to those that stop."""

from __future__ import annotations

from datetime import datetime, timedelta

from shimmy_sandbox.keygen.call import Call, Reply
from shimmy_sandbox.keygen.database import Database, Row
from shimmy_sandbox.keygen.machines import changed_machine
from shimmy_sandbox.keygen.records import the_machine
from shimmy_sandbox.keygen.resources import heartbeat_duration, heartbeat_status
from shimmy_sandbox.keygen.wire import cannot, read_time

_REVIVAL_SECONDS = {
    "15_MINUTE_REVIVE": 900,
    "10_MINUTE_REVIVE": 600,
    "5_MINUTE_REVIVE": 300,
    "2_MINUTE_REVIVE": 120,
    "1_MINUTE_REVIVE": 60,
}
_DRIFT = timedelta(seconds=30)


def ping(call: Call) -> Reply:
    """200 with the heartbeat now; 422 when the machine is dead and its policy lets it rest."""
    row = the_machine(call, "machine.heartbeat.ping")
    policy = call.database.by_id("policies", row["policy_id"]) or {}
    beat = {"last_heartbeat": call.time}
    if heartbeat_status(row, policy["settings"], call.now) != "DEAD":
        return changed_machine(call, row, beat)
    if _buried(row, policy["settings"], call.now):
        raise cannot("is dead", "MACHINE_HEARTBEAT_DEAD")
    return changed_machine(call, row, beat, status="RESURRECTED")


def reset_heartbeat(call: Call) -> Reply:
    """200 with no heartbeat at all."""
    row = the_machine(call, "machine.heartbeat.reset")
    return changed_machine(call, row, {"last_heartbeat": None})


def remove_dead_machines(database: Database, now: datetime) -> None:
    """What Keygen's workers do in the background: dead machines go, if their policy says so."""
    rows = database.rows(
        "SELECT machines.*, policies.settings FROM machines "
        "JOIN licences ON licences.id = licence_id JOIN policies ON policies.id = policy_id "
        "WHERE (last_heartbeat IS NOT NULL OR json_extract(settings, '$.requireHeartbeat')) "
        "AND json_extract(settings, '$.heartbeatCullStrategy') = 'DEACTIVATE_DEAD'"
    )
    for row in rows:
        settings = row["settings"]
        dead = heartbeat_status(row, settings, now - _DRIFT) == "DEAD"
        if dead and _buried(row, settings, now):
            database.delete("machines", row["id"])


def _buried(row: Row, settings: Row, now: datetime) -> bool:
    """Whether a dead machine can no longer be revived."""
    strategy = settings["heartbeatResurrectionStrategy"]
    if strategy == "ALWAYS_REVIVE":
        return False
    if strategy not in _REVIVAL_SECONDS or row["last_heartbeat"] is None:
        return True
    died = read_time(row["last_heartbeat"]) + heartbeat_duration(settings)
    return now > died + timedelta(seconds=_REVIVAL_SECONDS[strategy])
