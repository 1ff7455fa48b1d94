"""Continuous batching: what several sequences want decoded goes through the decoder together.

A step is one ``llama_decode`` of tokens or of rows, for every sequence that has some. Between two
steps of an answer its caller chooses a token, which takes a moment; the next step waits that moment
for those that are about to come, so that they share steps instead of taking turns. Nobody waits for
a sequence that is not in the middle of an answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shimmy_vision.adapters.engine.compute_turns import ComputeTurns
from shimmy_vision.adapters.engine.engine_counters import EngineCounters
from shimmy_vision.adapters.engine.llama_context import BatchPart
from shimmy_vision.adapters.engine.llama_library import AbortFlag
from shimmy_vision.adapters.engine.reply_ticket import Ticket
from shimmy_vision.errors import LibraryError
from shimmy_vision.ports.cancellation import Cancellation

# With room for others, one sequence's long prompt goes in parts, so that newcomers wait for one.
_PART_ALONE = 128
# Beside others, parts are as long as steps of about this many seconds allow.
_SHARED_STEP_SECONDS = 0.1
_SMALLEST_PART = 16
# How long a caller may take to choose its token when a slice of an image, which takes seconds,
# would begin instead.
_PATIENCE_BEFORE_A_SLICE = 0.05


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a step waits for callers about to come: ``fraction`` of the last step's seconds,

    within ``least`` and ``most``.
    """

    least: float = 0.001
    fraction: float = 0.5
    most: float = 0.005

    def after(self, step_seconds: float) -> float:
        """Seconds from a step's end."""
        return min(self.most, max(self.least, self.fraction * step_seconds))


class DecodingContext(Protocol):
    """What is asked of the native context."""

    @property
    def batch_size(self) -> int: ...

    @property
    def sequences(self) -> int: ...

    @property
    def abort(self) -> AbortFlag: ...

    def decode(self, parts: Sequence[BatchPart]) -> list[NDArray[np.float32] | None]: ...

    def clear(self, sequence: int) -> None: ...


@dataclass(slots=True, eq=False)
class DecodeOrder:
    """What one sequence wants decoded; ``fresh`` forgets what it held before.

    ``done`` of the content has been decoded, in ``passes`` steps; ``scores`` follow the last token.
    """

    sequence: int
    position: int
    content: NDArray[np.int32] | NDArray[np.float32]
    fresh: bool
    done: int = 0
    passes: int = 0
    scores: NDArray[np.float32] | None = None
    withdrawn: bool = False
    ticket: Ticket[None] = field(default_factory=Ticket)

    @property
    def is_tokens(self) -> bool:
        return self.content.ndim == 1

    @property
    def left(self) -> int:
        return len(self.content) - self.done


class SharedDecoding:
    """The scheduler over one context: the ``Decoder`` whose steps are turns.

    Everything but ``decode`` and ``leave`` runs on the computing thread.
    """

    def __init__(
        self,
        context: DecodingContext,
        turns: ComputeTurns,
        counters: EngineCounters,
        patience: Patience = Patience(),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._context, self._turns, self._counters = context, turns, counters
        self._patience, self._clock = patience, clock
        self._pending: list[DecodeOrder] = []
        self._running: list[DecodeOrder] = []
        # Sequences in the middle of an answer, and since when their next tokens are awaited.
        self._awaited: dict[int, float] = {}
        self._last_was_rows = False
        self._last_seconds = 0.0
        self._token_seconds = _SHARED_STEP_SECONDS / 64

    def decode(self, order: DecodeOrder, cancellation: Cancellation) -> None:
        """Wait until all of ``order`` is decoded. Raises StoppedError or LibraryError; the

        sequence's memory is unknown then.
        """
        cancellation.check()
        with self._turns.decoding(self):
            self._awaited.pop(order.sequence, None)
            self._pending.append(order)
        order.ticket.wait(cancellation, lambda: self._withdraw(order))

    def leave(self, sequence: int) -> None:
        """``sequence`` will not come again soon: no step waits for it."""
        with self._turns.locked():
            self._awaited.pop(sequence, None)

    def _withdraw(self, order: DecodeOrder) -> None:
        with self._turns.locked():
            order.withdrawn = True
            self._awaited.pop(order.sequence, None)
            if order not in self._running:
                if order in self._pending:
                    self._pending.remove(order)
                return
            if len(self._running) == 1:
                self._context.abort.set()
        # Others must not lose a step for this one, and they are short.
        order.ticket.wait_settled()

    def due(self, now: float, *, patient: bool) -> float | None:
        awaited_until = self._awaited_until(patient=patient)
        if not self._pending:
            return awaited_until if awaited_until > now else None
        if any(not order.is_tokens for order in self._pending):
            return now  # Rows are decoded apart from tokens: whoever comes is not held up by them.
        return max(now, awaited_until)

    def _awaited_until(self, *, patient: bool) -> float:
        patience = self._patience.after(self._last_seconds)
        if patient:
            patience = max(patience, _PATIENCE_BEFORE_A_SLICE)
        return max(self._awaited.values(), default=float("-inf")) + patience

    def step(self) -> None:
        with self._turns.locked():
            batch = self._choose()
            self._running = [order for order, _ in batch]
            self._context.abort.clear()
        if not batch:
            return
        started = self._clock()
        scores: list[NDArray[np.float32] | None] = []
        failure: LibraryError | None = None
        try:
            scores = self._decode(batch)
        except LibraryError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            failure = LibraryError("decode-failed", f"The batch could not be made: {error!r}")
        with self._turns.locked():
            self._account(batch, self._clock() - started)
            if failure is None:
                self._advance(batch, scores)
            else:
                self._fail(self._running, failure)
            self._running = []

    def abandon(self, error: LibraryError) -> None:
        self._fail([*self._pending], error)

    def _choose(self) -> list[tuple[DecodeOrder, int]]:
        """Which orders take part in the next step, by sequence, and how much of each."""
        tokens = [order for order in self._pending if order.is_tokens]
        rows = [order for order in self._pending if not order.is_tokens]
        chosen = rows if rows and not (tokens and self._last_was_rows) else tokens
        self._last_was_rows = chosen is rows
        batch, budget = [], self._budget()
        # The shortest first: what they leave of their share is for the longer ones.
        for place, order in enumerate(sorted(chosen, key=lambda one: one.left)):
            count = min(order.left, max(1, budget // (len(chosen) - place)))
            budget -= count
            batch.append((order, count))
        # llama.cpp computes neighbouring sequences together, in ascending order only.
        return sorted(batch, key=lambda one: one[0].sequence)

    def _budget(self) -> int:
        """How many tokens or rows the next step may take."""
        largest = self._context.batch_size
        if self._context.sequences == 1:
            return largest
        present = {order.sequence for order in self._pending} | self._awaited.keys()
        if len(present) == 1:
            return min(largest, _PART_ALONE)
        affordable = int(_SHARED_STEP_SECONDS / self._token_seconds)
        return min(largest, _PART_ALONE, max(_SMALLEST_PART, len(present), affordable))

    def _decode(self, batch: list[tuple[DecodeOrder, int]]) -> list[NDArray[np.float32] | None]:
        parts = []
        for order, count in batch:
            if order.fresh:
                self._context.clear(order.sequence)
                order.fresh = False
            parts.append(
                BatchPart(
                    order.sequence,
                    order.position + order.done,
                    order.content[order.done : order.done + count],
                    scored=order.is_tokens and count == order.left,
                )
            )
        return self._context.decode(parts)

    def _account(self, batch: list[tuple[DecodeOrder, int]], seconds: float) -> None:
        count = sum(count for _, count in batch)
        self._counters.decode_calls += 1
        self._counters.decode_sequences += len(batch)
        self._counters.decode_tokens += count
        self._last_seconds = seconds
        if count >= _SMALLEST_PART:
            self._token_seconds = max(1e-6, (self._token_seconds + seconds / count) / 2)

    def _advance(
        self, batch: list[tuple[DecodeOrder, int]], scores: list[NDArray[np.float32] | None]
    ) -> None:
        now = self._clock()
        for (order, count), scored in zip(batch, scores, strict=True):
            order.done += count
            order.passes += 1
            order.scores = scored
            if order.left and not order.withdrawn:
                continue
            if order in self._pending:
                self._pending.remove(order)
            if not order.withdrawn and self._context.sequences > 1:
                self._awaited[order.sequence] = now
            order.ticket.settle(None)

    def _fail(self, orders: list[DecodeOrder], error: LibraryError) -> None:
        for order in orders:
            if order in self._pending:
                self._pending.remove(order)
            self._awaited.pop(order.sequence, None)
            # One each: they are raised, and gather their traces, on different threads.
            order.ticket.fail(error.again())
