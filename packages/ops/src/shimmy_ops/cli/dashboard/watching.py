"""``monitor --watch``: the terminal's dashboard, or a line a sample where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from shimmy_ops.cli.exit_codes import DONE, INTERRUPTED
from shimmy_ops.domain.monitoring.panels import one_line
from shimmy_ops.domain.monitoring.picture import Picture
from shimmy_ops.domain.monitoring.windows import FIRST_WINDOW
from shimmy_ops.errors import OpsError


def run_dashboard(source: Callable[[str], Picture], interval_seconds: float) -> int:
    """Until somebody leaves: 0, or 130 after Ctrl-C. ``source`` gets "1h", "24h", "7d" or "30d"."""
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        return print_lines(source, interval_seconds, time.sleep)
    from shimmy_ops.cli.dashboard.screen import Dashboard

    dashboard = Dashboard(source, interval_seconds)
    dashboard.run()
    return dashboard.return_code or DONE


def print_lines(
    source: Callable[[str], Picture], interval_seconds: float, wait: Callable[[float], None]
) -> int:
    """One line a sample; a sample that fails is a line, too. Ctrl-C ends it with 130."""
    try:
        while True:
            try:
                print(one_line(source(FIRST_WINDOW)), flush=True)
            except OpsError as error:
                print(f"not sampled: {error.message} [{error.code}]", flush=True)
            wait(interval_seconds)
    except KeyboardInterrupt:
        return INTERRUPTED
