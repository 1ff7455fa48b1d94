"""A batch's rows as the use cases see them: named, read one by one, written as they are done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from shimmy_vision.domain.batch.row_outcome import RowDigest, RowOutcome


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


@dataclass(slots=True)
class RowTally:
    """How many rows came to what; ``kept`` were done before this run."""

    kept: int = 0
    done: int = 0
    failed: int = 0
    codes: dict[str, int] = field(default_factory=dict)

    def count(self, outcome: RowOutcome) -> None:
        """One more."""
        if outcome.error is None:
            self.done += 1
            return
        self.failed += 1
        self.codes[outcome.error.code] = self.codes.get(outcome.error.code, 0) + 1


TallyListener: TypeAlias = Callable[[RowTally], None]
