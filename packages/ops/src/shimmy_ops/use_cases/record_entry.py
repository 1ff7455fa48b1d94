"""Sign one more entry of a launch's record, and write it."""

from __future__ import annotations

from dataclasses import replace

from shimmy_ops.domain.launch.entries import NOTHING, Entry, entry_line, line_digest, signed_part
from shimmy_ops.domain.launch.record import CheckedRecord, head_line
from shimmy_ops.ports.launch import LaunchRecord, LaunchSigner


def record_entry(
    entry: Entry, before: CheckedRecord, record: LaunchRecord, signer: LaunchSigner
) -> tuple[Entry, CheckedRecord]:
    """The entry as it stands there, and the record with it. Raises LaunchError.

    Number, predecessor, key and signature of ``entry`` are filled in here.
    """
    placed = replace(
        entry, number=len(before.entries) + 1, previous=before.last, key=signer.fingerprint
    )
    signed = replace(placed, signature=signer.sign(signed_part(placed)))
    line = entry_line(signed)
    last = line_digest(line)
    if not before.entries:
        record.begin(head_line(0, NOTHING, signer.sign))
    record.append(line, head_line(signed.number, last, signer.sign))
    return signed, CheckedRecord((*before.entries, signed), (), 0, last)
