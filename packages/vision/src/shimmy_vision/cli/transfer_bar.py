"""Progress of long reads: speed and time left on a terminal, a line each tenth elsewhere."""

from __future__ import annotations

import sys
from typing import NoReturn

from tqdm import tqdm

from shimmy_vision.cli.progress_bar import ROWS, terminal_columns
from shimmy_vision.domain.model.model_manifest import ModelFile, ModelPin
from shimmy_vision.ports.model_files import ByteProgress

_VERBS = {"download": "downloading", "verify": "verifying"}


class TransferBar:
    """One bar at a time; a new file or phase starts a new one."""

    def __init__(self) -> None:
        self._what: tuple[str, str] | None = None
        self._bar: tqdm[NoReturn] | None = None
        self._tenth = -1

    def show(self, file: ModelFile, phase: str, done: int, total: int) -> None:
        """The listener to hand to ``pull_model``."""
        if self._what != (file.name, phase):
            self._start(file.name, phase, done, total)
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
        elif total and done * 10 // total > self._tenth:
            self._tenth = done * 10 // total
            print(
                f"{_VERBS[phase]} {file.name}: {self._tenth * 10} % of {total / 1e9:.2f} GB",
                file=sys.stderr,
            )

    def verifying(self, pin: ModelPin) -> ByteProgress:
        """A listener for hashing ``pin``'s files one after the other."""
        previous, index = 0, 0

        def show(done: int, total: int) -> None:
            nonlocal previous, index
            if done <= previous:  # a new file begins
                index = min(index + 1, len(pin.files) - 1)
            previous = done
            self.show(pin.files[index], "verify", done, total)

        return show

    def _start(self, name: str, phase: str, done: int, total: int) -> None:
        self.close()
        self._what, self._tenth = (name, phase), -1
        if sys.stderr.isatty():
            self._bar = tqdm(
                total=total or None,
                initial=done,
                desc=f"{_VERBS[phase]} {name}",
                unit="B",
                unit_scale=True,
                file=sys.stderr,
                ncols=terminal_columns(),
                nrows=ROWS,
            )

    def close(self) -> None:
        """End the bar; use with ``contextlib.closing``."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
