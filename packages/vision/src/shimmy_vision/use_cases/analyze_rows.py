"""A batch: row after row, several at once, each written the moment it is done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack

from shimmy_vision.domain.batch.row_outcome import RowOutcome, row_digest
from shimmy_vision.errors import LicenceError, ShimmyError
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

    No two of ``rows`` have one name: see ``count_names``. Holds as many rows as are done at once,
    and no more. Raises what concerns every row, OutputError and StoppedError, each after what was
    done by then is written.
    """
    tally = RowTally()
    running: set[Future[RowOutcome]] = set()
    switch, failure = Cancellation(), list[ShimmyError]()
    left = _prepared(_left(rows, sink, tally, listener), work, switch)
    with ExitStack() as ending:
        ending.enter_context(cancellation.when_cancelled(lambda: switch.cancel("interrupted")))
        pool = ending.enter_context(ThreadPoolExecutor(parallel, thread_name_prefix="shimmy-row"))
        # Before the pool waits for its threads, whatever ended this.
        ending.callback(lambda: switch.cancel("interrupted"))
        while True:
            while not failure and switch.reason is None and len(running) < parallel:
                row = next(left, None)
                if row is None:
                    break
                running.add(pool.submit(analyze_row, row, work, switch))
            if not running:
                break
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for one in ended:
                _settle(one, sink, tally, failure)
            # At a cap those under way have their pages: who stopped them would never use the last.
            if not all(isinstance(one, LicenceError) for one in failure):
                switch.cancel("interrupted")
            listener(tally)
    cancellation.check()
    if failure:
        raise failure[0]
    return tally


def _left(
    rows: Iterable[PendingRow], sink: RowSink, tally: RowTally, listener: TallyListener
) -> Iterator[PendingRow]:
    for row in rows:
        if sink.is_done(row_digest(row.name)):
            tally.kept += 1
            listener(tally)
        else:
            yield row


def _prepared(
    left: Iterator[PendingRow], work: RowWork, cancellation: Cancellation
) -> Iterator[PendingRow]:
    """``left``, with the model loaded before the first one where a row's time is bounded."""
    for number, row in enumerate(left):
        if number == 0 and work.seconds is not None:
            work.analyst.prepare(cancellation)
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
