"""Rehearses runbooks in the sandbox: the fault is made, and the runbook's own commands mend it.

    rehearse_runbook.py NAME…      or `all`

The commands are read out of the runbook's fenced blocks (``runbook_blocks``), so a runbook that is
changed is rehearsed as it stands. Exit code 1 where a command does not show what is promised, or
where somebody who paid has not exactly one licence and one mail in the end.
"""

from __future__ import annotations

import sys
import time

from runbook_blocks import blocks_of, names
from runbook_faults import FAULTS, Act
from runbook_stage import RehearsalError, Stage, open_stage


def rehearse(stage: Stage, name: str) -> None:
    """One runbook on a store that is well, and is well again in the end. Raises RehearsalError."""
    blocks = list(blocks_of(name))
    plan = FAULTS[name]
    print(f"{name}:", flush=True)
    for act in plan:
        if isinstance(act, Act):
            print(f"  ({act.said})", flush=True)
            act.do(stage)
            continue
        if not blocks or blocks[0].step != act:
            found = blocks[0].step if blocks else "no block"
            raise RehearsalError(f"{name}: the rehearsal comes to {act}, the runbook has {found}")
        stage.follow(blocks.pop(0), patiently=act.startswith(("look", "verify")))
    if blocks:
        raise RehearsalError(f"{name}: {blocks[0].step} is in the runbook and not rehearsed")
    stage.all_well()


def main(argv: list[str]) -> int:
    """All of them on one stage, one after the other."""
    wanted = names() if argv == ["all"] else tuple(argv)
    if not wanted or set(wanted) - set(FAULTS):
        print(f"rehearse_runbook.py all, or some of: {', '.join(FAULTS)}", file=sys.stderr)
        return 2
    began = time.monotonic()
    try:
        with open_stage() as stage:
            for name in wanted:
                rehearse(stage, name)
    except RehearsalError as problem:
        print(problem, file=sys.stderr)
        return 1
    print(f"{len(wanted)} runbooks were rehearsed in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
