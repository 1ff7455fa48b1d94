"""How a launch's run looks in a terminal."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from shimmy_ops.domain.launch.entries import Entry, Ran
from shimmy_ops.domain.launch.plan import Task


class TerminalTeller:
    """The ``RunTeller`` port: a command's own words pass through as they come."""

    def begins(
        self, task: Task, argv: Sequence[str], place: tuple[int, int], *, acts: bool
    ) -> None:
        """A line with what runs and why."""
        what = "doing" if acts else "verifying"
        print(f"\n▶ {place[0]}/{place[1]} {task.id}: {task.title}\n  {what}: {shlex.join(argv)}")
        sys.stdout.flush()

    def said(self, content: bytes, *, error: bool) -> None:
        """Unchanged, on the same way."""
        stream = sys.stderr if error else sys.stdout
        stream.write(content.decode(errors="replace"))
        stream.flush()

    def silent(self, seconds: float) -> None:
        """So that nobody takes it for dead."""
        print(f"  … {seconds:.0f} s", file=sys.stderr, flush=True)

    def ends(self, task: Task, entry: Entry) -> None:
        """What was recorded."""
        ran = entry.run or entry.act
        told = _told(task, entry, ran)
        otherwise = f"; rehearsed differently: {task.rehearse_why}" if entry.otherwise else ""
        seconds = f" in {ran.seconds:.1f} s" if ran else ""
        print(f"{told}{seconds} (entry {entry.number}{otherwise})", flush=True)


def _told(task: Task, entry: Entry, ran: Ran | None) -> str:
    match entry.kind:
        case "verified":
            return f"✓ {task.id} verified"
        case "attested":
            return f"☐ {task.id} attested by {entry.by}"
        case "failed":
            return f"✗ {task.id} {_failed(ran)}"


def _failed(ran: Ran | None) -> str:
    if ran is None or ran.exit_code is None:
        return "had no time left"
    return f"failed with exit code {ran.exit_code}"
