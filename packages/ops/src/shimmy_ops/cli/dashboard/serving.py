"""``monitor --serve`` and ``--html FILE``: the picture as a page."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from shimmy_ops.cli.exit_codes import INTERRUPTED
from shimmy_ops.domain.monitoring.picture import Picture
from shimmy_ops.wiring.dashboards import save_page, serve_pages

PORT = 8401


def run_page_server(
    source: Callable[[str], Picture], interval_seconds: float, port: int = PORT
) -> int:
    """Serve on loopback until Ctrl-C (130). Raises MonitorError where the port is taken.

    ``source`` is called in the thread that called this, so that Ctrl-C ends a sample, too.
    """
    try:
        with serve_pages(interval_seconds, port) as served:
            print(f"{served.url}/ (Ctrl-C stops it)", file=sys.stderr, flush=True)
            served.keep_filled(source)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    return INTERRUPTED


def write_page(picture: Picture, file: Path) -> None:
    """One page in a file of mode 0600. Raises KeepingError."""
    save_page(picture, file)
