"""``shimmy-store`` or ``shimmy`` whose clock is shifted by the seconds that ``CHAOS_CLOCK`` holds.

    chaos_clock.py shimmy-store|shimmy WORD…

All else is the command itself. The products have no switch for their clocks, and need none: what
opens a shop takes one, and one line of vision's wiring reads it.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path


def now() -> datetime:
    """The real time, shifted."""
    shift = Path(os.environ["CHAOS_CLOCK"]).read_text(encoding="ascii")
    return datetime.now(UTC) + timedelta(seconds=float(shift))


def store(words: list[str]) -> int:
    """``shimmy-store``."""
    from shimmy_store.cli import serve, work
    from shimmy_store.cli.main import main
    from shimmy_store.wiring import open_shop

    for command in (serve, work):
        vars(command)["open_shop"] = partial(open_shop, now=now)
    return main(words)


def vision(words: list[str]) -> int:
    """``shimmy``."""
    from shimmy_vision.cli.main import main
    from shimmy_vision.wiring import licences

    vars(licences)["_now"] = now
    return main(words)


if __name__ == "__main__":
    program, *rest = sys.argv[1:]
    sys.exit({"shimmy-store": store, "shimmy": vision}[program](rest))
