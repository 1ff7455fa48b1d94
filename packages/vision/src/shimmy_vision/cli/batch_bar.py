"""How far a batch is: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import NoReturn

from tqdm import tqdm

from shimmy_vision.cli.progress_bar import ROWS, terminal_columns
from shimmy_vision.ports.batch_rows import RowTally


class BatchBar:
    """Shows a ``RowTally`` and keeps the last one; for ``rows`` rows."""

    def __init__(self, rows: int) -> None:
        self.tally = RowTally()
        self._bar: tqdm[NoReturn] = tqdm(
            total=rows,
            desc="rows",
            file=sys.stderr,
            ncols=terminal_columns(),
            nrows=ROWS,
            disable=not sys.stderr.isatty(),
            unit="row",
        )

    def show(self, tally: RowTally) -> None:
        """The listener to hand to ``analyze_rows``."""
        self.tally = tally
        if self._bar.disable:
            return
        # What was done before says nothing about this run's pace.
        self._bar.initial = tally.kept
        self._bar.n = tally.kept + tally.done + tally.failed
        self._bar.set_postfix_str(f"{tally.failed} failed" if tally.failed else "", refresh=False)
        self._bar.refresh()

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()

    def __enter__(self) -> BatchBar:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()
