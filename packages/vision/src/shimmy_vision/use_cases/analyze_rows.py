"""A batch: row after row, several at once, each written the moment it is done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack

from shimmy_vision.domain.batch.row_outcome import RowDigest, RowOutcome, row_digest
from shimmy_vision.errors import ShimmyError, UsageError
from shimmy_vision.ports.batch_rows import PendingRow, RowSink, RowTally, TallyListener
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.use_cases.analyze_row import RowWork, analyze_row


def analyze_rows(
    rows: Iterable[PendingRow],
    work: RowWork,
    sink: RowSink,
    cancellation: Cancellation,
    listener: TallyListener,
    *,
    parallel: int = 1,
) -> RowTally:
    """Do every row that is not done, ``parallel`` at once, in the order in which they end.

    Holds as many rows as are done at once, and no more. Raises what concerns every row, OutputError
    and StoppedError, each after what was done by then is written.
    """
    tally = RowTally()
    left = _left(rows, sink, tally, listener)
    running: set[Future[RowOutcome]] = set()
    switch, failure = Cancellation(), list[ShimmyError]()
    with ExitStack() as ending:
        ending.enter_context(cancellation.when_cancelled(lambda: switch.cancel("interrupted")))
        pool = ending.enter_context(ThreadPoolExecutor(parallel, thread_name_prefix="shimmy-row"))
        # Before the pool waits for its threads, whatever ended this.
        ending.callback(lambda: switch.cancel("interrupted"))
        while True:
            while switch.reason is None and len(running) < parallel:
                row = next(left, None)
                if row is None:
                    break
                running.add(pool.submit(analyze_row, row, work, switch))
            if not running:
                break
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for one in ended:
                _settle(one, sink, tally, failure)
            if failure:
                switch.cancel("interrupted")
            listener(tally)
    cancellation.check()
    if failure:
        raise failure[0]
    return tally


def _left(
    rows: Iterable[PendingRow], sink: RowSink, tally: RowTally, listener: TallyListener
) -> Iterator[PendingRow]:
    seen = set[RowDigest]()
    for row in rows:
        digest = row_digest(row.name)
        if digest in seen:
            raise UsageError(
                "batch-name-twice",
                f"Two rows of the batch are called {row.name}.",
                hint="Name each row once: by another --name-column, or by none.",
            )
        seen.add(digest)
        if sink.is_done(digest):
            tally.kept += 1
            listener(tally)
        else:
            yield row


def _settle(
    ended: Future[RowOutcome], sink: RowSink, tally: RowTally, failure: list[ShimmyError]
) -> None:
    """Write what is done; keep the first error that ends the batch."""
    try:
        outcome = ended.result()
    except ShimmyError as error:
        failure.append(error)
        return
    sink.write(outcome)
    tally.count(outcome)
