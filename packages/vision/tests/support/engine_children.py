"""An engine process on a synthetic pair, jobs for it, and a look at its children."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from shimmy_sandbox.synthetic_model import SyntheticPair
from shimmy_vision.adapters.worker.engine_process import EngineProcess
from shimmy_vision.domain.answer.analysis_request import (
    AnalysisRequest,
    AnswerLimits,
    StandardQuestion,
)
from shimmy_vision.ports.analyst import Analyst, ImageJob, Job, JobEvent
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.progress import Progress

IMAGE = (Path(__file__).resolve().parents[4] / "docs/samples/sign-in.png").read_bytes()
# Answers are not kept: each job is done.
BRIEF = AnalysisRequest(StandardQuestion("brief"), AnswerLimits(max_tokens=24))
LONG = AnalysisRequest(StandardQuestion("full"), AnswerLimits(max_tokens=4000))
JOB = ImageJob(IMAGE, BRIEF)

REAL = (sys.executable, "-m", "shimmy_vision")
FRAGILE = (sys.executable, str(Path(__file__).with_name("fragile_worker.py")))


@contextmanager
def engine(
    pair: SyntheticPair,
    state: Path,
    variables: Mapping[str, str],
    *options: str,
    program: tuple[str, ...] = REAL,
    jobs: int = 1,
    **wishes: Any,
) -> Iterator[EngineProcess]:
    """Closed, with its child, at the end."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SHIMMY_")}
    environment = {
        **kept,
        **variables,
        "SHIMMY_ALLOW_SYNTHETIC": "1",
        "SHIMMY_STATE_DIR": str(state),
    }
    place = ("--model", str(pair.main.parent), "--threads", "1")
    command = (*program, "engine-worker", *place, *options)
    opened = EngineProcess(command, environment, jobs=jobs, **wishes)
    try:
        yield opened
    finally:
        opened.close()


def children() -> list[psutil.Process]:
    """Engine processes that live. Their own children look like them until they are begun."""
    return [one for one in psutil.Process().children() if _is_engine(one)]


def _is_engine(process: psutil.Process) -> bool:
    # It, or a child of another test, may end while it is looked at.
    with suppress(psutil.NoSuchProcess):
        alive = process.status() != psutil.STATUS_ZOMBIE
        return alive and "engine-worker" in " ".join(process.cmdline())
    return False


def ignore(_event: JobEvent) -> None:
    """For whom only the end matters."""


def at_stage(stage: str, act: Callable[[], object]) -> Callable[[JobEvent], None]:
    """A listener that acts once, when ``stage`` begins."""
    done: list[bool] = []

    def hear(event: JobEvent) -> None:
        if isinstance(event, Progress) and event.stage == stage and not done:
            done.append(True)
            act()

    return hear


@dataclass
class Ordered:
    """A job under way on a thread of its own."""

    events: list[JobEvent] = field(default_factory=list)
    switch: Cancellation = field(default_factory=Cancellation)
    _ended: list[Any] = field(default_factory=list)
    _thread: threading.Thread | None = None

    def start(
        self, analyst: Analyst, job: Job, hear: Callable[[JobEvent], None] = ignore
    ) -> Ordered:
        def listen(event: JobEvent) -> None:
            self.events.append(event)
            hear(event)

        def work() -> None:
            try:
                self._ended.append(analyst.analyse(job, self.switch, listen))
            except Exception as error:  # noqa: BLE001 - raised where it is waited for
                self._ended.append(error)

        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()
        return self

    def end(self) -> Any:
        """What came of it; raises what it raised."""
        assert self._thread is not None
        self._thread.join(120)
        assert self._ended, "still under way"
        if isinstance(self._ended[0], Exception):
            raise self._ended[0]
        return self._ended[0]
