"""A batch's rows, over an analyst that does what a row's name says."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from shimmy_vision.domain.answer.analysis_request import DocumentRequest
from shimmy_vision.domain.batch.batch_identity import BatchIdentity
from shimmy_vision.domain.batch.row_outcome import (
    RowDigest,
    RowOutcome,
    count_names,
    row_digest,
)
from shimmy_vision.errors import (
    ImageError,
    LibraryError,
    LicenceError,
    OutputError,
    SchemaError,
    ShimmyError,
    StoppedError,
    UsageError,
)
from shimmy_vision.ports.analyst import (
    DocumentJob,
    EngineStatus,
    ImageJob,
    Job,
    JobListener,
    PageOutcome,
)
from shimmy_vision.ports.batch_rows import RowTally
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.use_cases.analyze_row import RowWork
from shimmy_vision.use_cases.analyze_rows import analyze_rows

IDENTITY = BatchIdentity("a" * 32, "b" * 64)
ERRORS: dict[bytes, ShimmyError] = {
    b"no image": ImageError("image-unsupported", "That is a cat.", hint="Draw it."),
    b"crash": LibraryError("engine-crashed", "Gone."),
    b"endless": SchemaError("answer-not-closed", "Cut."),
    b"odd": LibraryError("remote-answer-invalid", "No JSON."),
    b"large": LibraryError("remote-request-refused", "Too long."),
    b"silent": LibraryError("remote-unreachable", "Nobody."),
    b"no licence": LicenceError("licence-expired", "Over."),
}


@dataclass
class Analyst:
    """Answers with the key it was given; ``hang`` waits until it is stopped, and so does ``die``,

    which crashes then, and ``late``, which is done all the same.
    """

    keys: list[str] = field(default_factory=list)
    seconds: list[float | None] = field(default_factory=list)
    stopped: list[bytes] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    hanging: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    prepared: int = 0
    refused: threading.Event = field(default_factory=threading.Event)

    def analyse(
        self, job: Job, cancellation: Cancellation, listener: JobListener
    ) -> dict[str, Any] | None:
        assert isinstance(job, ImageJob | DocumentJob)
        with self.lock:
            self.keys.append(job.key)
            self.at_once += 1
            self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            return self._do(job, cancellation, listener)
        finally:
            with self.lock:
                self.at_once -= 1

    def _do(
        self, job: ImageJob | DocumentJob, cancellation: Cancellation, listener: JobListener
    ) -> dict[str, Any] | None:
        if isinstance(job, DocumentJob):
            self.seconds.append(job.page_seconds)
            listener(PageOutcome(2, None, ImageError("document-page-damaged", "Torn.")))
            listener(PageOutcome(1, {"page": "first"}, None))
            return None
        if job.data in (b"hang", b"die", b"late"):
            stopped = threading.Event()
            with cancellation.when_cancelled(stopped.set):
                self.hanging.set()
                if stopped.wait(20):
                    self.stopped.append(job.data)
            if job.data == b"die":
                raise LibraryError("engine-crashed", "Ctrl-C reached the engine too.")
            if job.data == b"hang":
                cancellation.check()
        if job.data == b"slow":
            # Until the other's licence was refused, and what came of it was seen.
            assert self.refused.wait(20)
            self.refused.clear()
            assert not self.refused.wait(0.1)
            cancellation.check()
        if job.data == b"no licence":
            self.refused.set()
        if job.data in ERRORS:
            raise ERRORS[job.data].again()
        return {"key": job.key}

    def prepare(self, cancellation: Cancellation) -> None:
        assert not self.keys
        self.prepared += 1

    def status(self) -> EngineStatus:
        return EngineStatus(True, None, {}, {})

    def close(self) -> None: ...


@dataclass(frozen=True)
class Row:
    name: str
    data: bytes = b"fine"

    def read(self) -> bytes:
        if self.data == b"absent":
            raise ImageError("image-not-found", "No.")
        return self.data


@dataclass
class Sink:
    done: set[RowDigest] = field(default_factory=set)
    outcomes: list[RowOutcome] = field(default_factory=list)
    full: bool = False

    def is_done(self, row: RowDigest) -> bool:
        return row in self.done

    def write(self, outcome: RowOutcome) -> None:
        if self.full:
            raise OutputError("output-not-written", "Full.")
        self.outcomes.append(outcome)
        self.done.add(row_digest(outcome.name))

    def sync(self) -> None: ...


def run(
    rows: list[Row],
    *,
    sink: Sink | None = None,
    parallel: int = 1,
    seconds: float | None = None,
    cancellation: Cancellation | None = None,
    analyst: Analyst | None = None,
) -> tuple[RowTally, Sink]:
    kept = sink or Sink()
    work = RowWork(analyst or Analyst(), DocumentRequest(), IDENTITY, seconds)
    switch = cancellation or Cancellation()
    tally = analyze_rows(rows, work, kept, switch, lambda _: None, parallel=parallel)
    return tally, kept


def test_every_row_has_an_outcome_and_its_own_failure_loses_no_other() -> None:
    rows = [Row("a"), Row("b", b"no image"), Row("c", b"absent"), Row("d", b"crash"), Row("e")]
    tally, sink = run(rows)
    assert [one.name for one in sink.outcomes] == ["a", "b", "c", "d", "e"]
    codes = [one.error.code if one.error else "" for one in sink.outcomes]
    assert codes == ["", "image-unsupported", "image-not-found", "engine-crashed", ""]
    assert [bool(one.sha256) for one in sink.outcomes] == [True, True, False, True, True]
    assert (tally.done, tally.failed, tally.kept) == (2, 3, 0)
    assert tally.codes == {"image-unsupported": 1, "image-not-found": 1, "engine-crashed": 1}


def test_what_the_model_makes_of_one_image_ends_no_batch() -> None:
    rows = [Row("a", b"endless"), Row("b", b"odd"), Row("c", b"large"), Row("d")]
    _, sink = run(rows)
    codes = [one.error.code if one.error else "" for one in sink.outcomes]
    assert codes == ["answer-not-closed", "remote-answer-invalid", "remote-request-refused", ""]
    with pytest.raises(LibraryError, match="Nobody"):
        run([Row("e", b"silent"), Row("f")])


def test_the_model_is_loaded_in_no_rows_time() -> None:
    bounded, unbounded, idle = Analyst(), Analyst(), Analyst()
    run([Row("a"), Row("b")], analyst=bounded, seconds=60)
    run([Row("a")], analyst=unbounded)
    run([Row("a")], analyst=idle, seconds=60, sink=Sink({row_digest("a")}))
    assert (bounded.prepared, unbounded.prepared, idle.prepared) == (1, 0, 0)


def test_rows_that_are_done_are_neither_read_nor_asked_again() -> None:
    sink, analyst = Sink({row_digest("a")}), Analyst()
    tally, _ = run([Row("a", b"no licence"), Row("b")], sink=sink, analyst=analyst)
    assert (tally.kept, tally.done) == (1, 1)
    assert len(analyst.keys) == 1


def test_a_rows_key_is_the_same_in_every_try_and_another_for_any_other() -> None:
    first, again = Analyst(), Analyst()
    rows = [Row("a"), Row("b"), Row("c", b"other")]
    run(rows, analyst=first)
    run(rows, analyst=again)
    assert first.keys == again.keys
    # Also for the name's next content.
    run([Row("a", b"changed")], analyst=first)
    assert len(set(first.keys)) == 4


def test_a_document_is_one_row_with_its_pages_in_order() -> None:
    analyst = Analyst()
    tally, sink = run([Row("a", b"%PDF-1.7")], analyst=analyst, seconds=7)
    assert analyst.keys[0]
    assert analyst.seconds == [7]
    # Whoever looks at the exit code alone learns of the page that is missing.
    assert (tally.done, tally.failed, tally.codes) == (0, 1, {"document-page-damaged": 1})
    assert sink.outcomes[0].result == {
        "pages": [
            {"page": 1, "result": {"page": "first"}},
            {
                "page": 2,
                "error": {"code": "document-page-damaged", "message": "Torn.", "hint": ""},
            },
        ]
    }


def test_what_concerns_every_row_ends_the_batch_with_what_was_done_kept() -> None:
    sink = Sink()
    with pytest.raises(LicenceError, match="Over"):
        run([Row("a"), Row("b", b"no licence"), Row("c")], sink=sink)
    assert [one.name for one in sink.outcomes] == ["a"]


def test_a_licence_that_ends_lets_rows_under_way_end_and_nothing_else_does() -> None:
    rows = [Row("a", b"slow"), Row("b", b"no licence"), Row("c")]
    analyst, sink = Analyst(), Sink()
    with pytest.raises(LicenceError, match="Over"):
        run(rows, sink=sink, analyst=analyst, parallel=2)
    assert [one.name for one in sink.outcomes] == ["a"]
    rows[:2] = [Row("a", b"hang"), Row("b", b"silent")]
    with pytest.raises(LibraryError, match="Nobody"):
        run(rows, analyst=analyst, parallel=2)
    assert analyst.stopped == [b"hang"]


def test_a_disk_that_is_full_ends_the_batch_and_stops_what_is_under_way() -> None:
    analyst = Analyst()
    with pytest.raises(OutputError, match="Full"):
        run([Row("a"), Row("b", b"hang")], sink=Sink(full=True), parallel=2, analyst=analyst)
    assert analyst.stopped == ([b"hang"] if len(analyst.keys) == 2 else [])


@pytest.mark.parametrize(("way", "kept"), [(b"hang", []), (b"die", []), (b"late", ["b"])])
def test_an_interrupted_batch_says_so_and_learns_nothing_of_rows_under_way(
    way: bytes, kept: list[str]
) -> None:
    switch, analyst, sink = Cancellation(), Analyst(), Sink()

    def throw() -> None:
        analyst.hanging.wait(60)
        switch.cancel("interrupted")

    thrower = threading.Thread(target=throw)
    thrower.start()
    with pytest.raises(StoppedError):
        run([Row("a"), Row("b", way), Row("c")], cancellation=switch, analyst=analyst, sink=sink)
    thrower.join()
    assert [one.name for one in sink.outcomes] == ["a", *kept]


def test_a_row_that_takes_too_long_fails_alone() -> None:
    _, sink = run([Row("a", b"hang"), Row("b")], seconds=0.05)
    codes = [one.error.code if one.error else "" for one in sink.outcomes]
    assert codes == ["deadline-exceeded", ""]


def test_no_more_rows_are_taken_than_are_done_at_once() -> None:
    taken, sink, analyst, ahead = 0, Sink(), Analyst(), list[int]()

    def rows() -> Any:
        nonlocal taken
        for number in range(200):
            taken += 1
            ahead.append(taken - len(sink.outcomes))
            yield Row(str(number))

    work = RowWork(analyst, DocumentRequest(), IDENTITY)
    analyze_rows(rows(), work, sink, Cancellation(), lambda _: None, parallel=4)
    assert len(sink.outcomes) == 200
    assert max(ahead) <= 5
    assert analyst.most_at_once <= 4


def test_two_rows_of_one_name_are_refused_not_taken_for_one() -> None:
    assert count_names(["a", "b", "A"]) == 3
    with pytest.raises(UsageError, match="called 'a'") as caught:
        count_names(["a", "b", "a"])
    assert caught.value.code == "batch-name-twice"
