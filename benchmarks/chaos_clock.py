"""``shimmy-store`` whose clock is shifted by the seconds that the file ``CHAOS_CLOCK`` holds.

All else is the command itself. The product has no switch for its clock, and needs none: what opens
a shop takes one.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from shimmy_store.cli import serve, work
from shimmy_store.cli.main import main
from shimmy_store.wiring import open_shop

if __name__ == "__main__":
    shift = Path(os.environ["CHAOS_CLOCK"])

    def now() -> datetime:
        """The real time, shifted."""
        return datetime.now(UTC) + timedelta(seconds=float(shift.read_text(encoding="ascii")))

    shifted = partial(open_shop, now=now)
    for command in (serve, work):
        vars(command)["open_shop"] = shifted
    sys.exit(main(sys.argv[1:]))
