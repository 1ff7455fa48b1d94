"""A batch's rows as the use cases see them: named, read one by one, written as they are done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from shimmy_vision.domain.batch.row_outcome import RowDigest, RowOutcome, failed_codes


class PendingRow(Protocol):
    """A row that is to be done."""

    @property
    def name(self) -> str:
        """Tells it from all others of its batch, the same in every run."""
        ...

    def read(self) -> bytes:
        """The image file. Raises ImageError where there is none to be read."""
        ...


class RowSink(Protocol):
    """Where outcomes go, for one thread at a time. What was written is there after a kill."""

    def is_done(self, row: RowDigest) -> bool:
        """Whether an outcome of this row is there, of this run or one before."""
        ...

    def write(self, outcome: RowOutcome) -> None:
        """Keep it. Raises OutputError."""
        ...

    def sync(self) -> None:
        """Have what was written on the disk, whatever happens to the power. Raises OutputError."""
        ...


@dataclass(slots=True)
class RowTally:
    """How many rows came to what; ``kept`` were done before this run.

    A PDF of which pages failed is among ``failed``, and each of them among ``codes``.
    """

    kept: int = 0
    done: int = 0
    failed: int = 0
    codes: dict[str, int] = field(default_factory=dict)

    def count(self, outcome: RowOutcome) -> None:
        """One more."""
        codes = failed_codes(outcome)
        if not codes:
            self.done += 1
            return
        self.failed += 1
        for code in codes:
            self.codes[code] = self.codes.get(code, 0) + 1


TallyListener: TypeAlias = Callable[[RowTally], None]
