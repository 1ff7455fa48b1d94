"""A bar on standard error while an analysis runs; silent when that is no terminal."""

from __future__ import annotations

import shutil
import sys
from typing import NoReturn

from tqdm import tqdm

from shimmy_vision.ports.progress import PageProgress, PageWritten, Progress, Stage, Written

_LABELS: dict[Stage, str] = {
    "fetch": "fetching",
    "decode": "opening image",
    "load": "loading model",
    "measure": "measuring pixels",
    "encode": "reading image",
    "prompt": "reading prompt",
    "generate": "writing answer",
}


ROWS = 20  # named because tqdm hides its bar on terminals that tell no size


def terminal_columns() -> int:
    """The terminal's width; 80 where it tells none, for which tqdm would print nothing."""
    return shutil.get_terminal_size((80, 24)).columns or 80


class ProgressBar:
    """Shows stages of one analysis; ``name`` tells which image."""

    def __init__(self, name: str) -> None:
        self._bar: tqdm[NoReturn] = tqdm(
            total=1,
            desc=name,
            file=sys.stderr,
            ncols=terminal_columns(),
            nrows=ROWS,
            leave=False,
            disable=not sys.stderr.isatty(),
            bar_format="{desc} {bar:20} {n_fmt}/{total_fmt} [{elapsed}]",
            delay=0.2,
        )
        self._name = name

    def show(self, progress: Progress | Written) -> None:
        """The listener to hand to ``analyze_image``."""
        if isinstance(progress, Progress):
            self._show(self._name, progress)

    def show_page(self, progress: PageProgress | PageWritten) -> None:
        """The listener to hand to ``analyze_document``."""
        if isinstance(progress, PageWritten) or not isinstance(progress.within, Progress):
            return
        place = f"page {progress.page} ({progress.done + 1} of {progress.total})"
        self._show(f"{self._name}, {place}", progress.within)

    def _show(self, what: str, progress: Progress) -> None:
        self._bar.set_description(f"{what}: {_LABELS[progress.stage]}", refresh=False)
        self._bar.total = progress.total or 1
        self._bar.n = progress.done
        self._bar.refresh()

    def close(self) -> None:
        """Take the bar off the screen; use with ``contextlib.closing``."""
        self._bar.close()
