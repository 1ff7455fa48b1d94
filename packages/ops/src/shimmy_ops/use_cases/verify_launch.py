"""Find out whether a launch's record, and all that it rests on, is what was written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from shimmy_ops.domain.launch.entries import Entry
from shimmy_ops.domain.launch.record import CheckedRecord, check_record
from shimmy_ops.ports.launch import LaunchDesk, OutputShelf


def verify_launch(desk: LaunchDesk) -> CheckedRecord:
    """Chain, signatures, end, and every kept output. Raises LaunchError where it cannot be read."""
    checked = check_record(desk.record.read(), desk.signer, rehearsal=desk.rehearsal)
    lost = [problem for one in checked.entries for problem in _outputs(one, desk.shelf)]
    return replace(checked, problems=(*checked.problems, *lost))


def _outputs(entry: Entry, shelf: OutputShelf) -> Iterator[str]:
    for ran in (entry.act, entry.run):
        for output in (ran.output, ran.errors) if ran is not None else ():
            if shelf.read(output) is None:
                yield f"entry {entry.number}: {output.file} is gone, or not what the command said"
