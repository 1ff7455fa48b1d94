"""What both soaks share: how they judge and end, how progress is told, where a report goes."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

from promises import ALLOWED_ERRORS, ALLOWED_MS

PROGRESS = "progress: "
"""Begins a line on standard error that only says how far it is."""


def judge_answers(count: int, errors: int, p99_ms: float) -> list[str]:
    """Which promises about answers are broken; where nothing was asked, nothing was shown."""
    broken = [] if count else ["nothing was asked"]
    broken += ["p99"] if p99_ms > ALLOWED_MS else []
    broken += ["errors"] if errors >= max(ALLOWED_ERRORS * count, 1) else []
    return broken


def tell(spent: float, seconds: float, more: str) -> None:
    """How far it is: over the last line on a terminal, else as a line that ``soak.py`` reads."""
    told = f"{spent / 60:.1f} of {seconds / 60:.0f} min, {more}"
    if sys.stderr.isatty():
        print(f"\r{told}   ", end="", file=sys.stderr, flush=True)
    else:
        print(f"{PROGRESS}{told}", file=sys.stderr, flush=True)


def keep(report: dict[str, Any], out: Path | None) -> None:
    """Print it, and write it where that was asked for."""
    text = json.dumps(report, indent=1)
    print(text)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(f"{text}\n", encoding="utf-8")


def end_with_ctrl_c() -> None:
    """SIGINT and SIGTERM end what runs, and what was seen is judged; also where a shell that

    started this in the background has them ignored.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
