"""Read a launch's record, and trust it only where it is whole."""

from __future__ import annotations

from shimmy_ops.domain.launch.record import CheckedRecord, check_record
from shimmy_ops.errors import LaunchError
from shimmy_ops.ports.launch import LaunchRecord, LaunchSigner


def read_launch_record(
    record: LaunchRecord, signer: LaunchSigner, *, rehearsal: bool
) -> CheckedRecord:
    """The entries. Raises LaunchError where anything of the record was tampered with."""
    checked = check_record(record.read(), signer, rehearsal=rehearsal)
    if checked.problems:
        raise LaunchError(
            "launch-record-tampered",
            "The launch's record is not what was written: " + "; ".join(checked.problems[:3]) + ".",
            hint="shimmy-ops launch verify says all of it. Bring the record back from a backup; "
            "nothing runs on top of this one.",
        )
    return checked
