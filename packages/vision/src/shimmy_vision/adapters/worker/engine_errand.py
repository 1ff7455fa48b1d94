"""One job on its way through engine processes: perhaps more than one, as they may die under it."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field, replace

from shimmy_vision.adapters.worker.engine_child import Line
from shimmy_vision.adapters.worker.worker_frames import Frame
from shimmy_vision.adapters.worker.worker_messages import job_frame
from shimmy_vision.errors import DeadlineError, LibraryError
from shimmy_vision.ports.analyst import (
    DocumentJob,
    ImageJob,
    Job,
    JobEvent,
    JobListener,
    PageOutcome,
    Restarted,
    UrlJob,
)
from shimmy_vision.ports.cancellation import Cancellation, stop_error
from shimmy_vision.ports.progress import PageProgress, PageWritten, Progress, Stage, Written

# Nobody looks at the clock more often than this.
_SHORTEST = 0.02


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited for what, in seconds.

    ``stop`` for the answer to a stop; ``grace`` for the end of a job whose caller had to be told
    before that, and of a page that does not heed its time. After ``silence`` in a job the process
    is asked how it is, which it is to say within ``answer``, or at the second try.
    """

    stop: float = 5.0
    grace: float = 30.0
    silence: float = 20.0
    answer: float = 3.0


@dataclass(eq=False, slots=True)
class Errand:
    """``job`` None only prepares. ``verdict`` is set where the job killed its process."""

    job: Job | None
    cancellation: Cancellation
    listener: JobListener
    patience: Patience
    line: Line = field(default_factory=Line)
    verdict: LibraryError | None = None
    _begun: bool = False
    _stage: Stage | None = None
    _page: int | None = None
    _told: set[int] = field(default_factory=set)
    _pages: int | None = None
    # When the page began, and when anything was heard last.
    _since: float = 0.0
    _heard: float = 0.0
    _stopped: float | None = None
    _failure: BaseException | None = None

    def __post_init__(self) -> None:
        if self.job is not None and not self.job.key:
            # However often it is done, its pages are the same.
            self.job = replace(self.job, key=uuid.uuid4().hex)

    def begin(self) -> Frame:
        """What to send to a new child, whose answers come on a new ``line``."""
        self.line, self._stage, self._page = Line(), None, None
        self._since = self._heard = time.monotonic()
        if self._begun:
            self._tell(Restarted())
        self._begun = True
        match self.job:
            case None:
                return Frame({"do": "prepare"})
            case ImageJob():
                return job_frame(self.job)
            case DocumentJob() | UrlJob():
                told = self.job.told | self._told
                return job_frame(replace(self.job, told=told))

    @property
    def all_told(self) -> bool:
        """Whether every page has its outcome: nothing is left to be done."""
        already = self.job.told if isinstance(self.job, DocumentJob | UrlJob) else ()
        return self._pages is not None and len({*already, *self._told}) >= self._pages

    @property
    def failed(self) -> bool:
        """Whether its own listener failed, so that it should stop."""
        return self._failure is not None

    @property
    def stopped(self) -> bool:
        """Whether it was asked to stop, and not only out of its page's time."""
        return self._stopped is not None

    @property
    def deaf(self) -> bool:
        """Whether it is where nothing can be stopped: waiting for the licence server or the

        model. Both end by themselves.
        """
        return self._stage in (None, "load")

    def note_stop(self) -> None:
        """From now on the child should answer soon."""
        if self._stopped is None:
            self._stopped = time.monotonic()

    def wait(self) -> float:
        """For how many seconds from now the child may be silent."""
        ends = [self._heard + self.patience.silence]
        if self._stopped is not None:
            ends.append(self._stopped + self.patience.stop)
        if (due := self._due()) is not None:
            ends.append(due + self.patience.grace)
        return max(_SHORTEST, min(ends) - time.monotonic())

    def is_late(self, by: float = 0.0) -> bool:
        """Whether the page should have been given up ``by`` seconds ago, or more."""
        due = self._due()
        return due is not None and time.monotonic() >= due + by

    def _due(self) -> float | None:
        if isinstance(self.job, DocumentJob | UrlJob) and self.job.page_seconds is not None:
            return self._since + self.job.page_seconds + self.patience.stop
        return None

    def note_life(self) -> None:
        """The child is well, although it says nothing of this job."""
        self._heard = time.monotonic()
        if self.deaf and self.is_late():
            # All is well but for what cannot be stopped, which others may be waiting for too.
            self._since = self._heard

    def check_listener(self) -> None:
        """Raise what its listener raised, if it did."""
        if self._failure is not None:
            raise self._failure

    def check(self) -> None:
        """Raise what stopped it, if anything did."""
        self.check_listener()
        self.cancellation.check()

    def hear(self, event: JobEvent) -> None:
        """Note where the job is, and tell its listener."""
        self._note(event)
        self._tell(event)

    def catch_up(self) -> None:
        """Note where the job is that nobody listens to any more."""
        while (heard := self.line.next(0.0)) is not None:
            if isinstance(heard, Progress | PageProgress):
                self._note(heard)

    def _note(self, event: JobEvent) -> None:
        self._heard = time.monotonic()
        match event:
            case Progress(stage=stage):
                self._stage = stage
            case PageProgress(page=page, total=total, within=within):
                self._stage, self._pages = within.stage, total
                if page != self._page:
                    self._page, self._since = page, time.monotonic()
            case PageOutcome(page=page):
                self._told.add(page)
                self._since = time.monotonic()
            case Written() | PageWritten() | Restarted():
                pass

    def give_page_up(self) -> None:
        """Tell that the page ran out of its time. Raises DeadlineError where no page had begun."""
        error = stop_error("deadline")
        assert isinstance(error, DeadlineError)  # noqa: S101 - for the type alone
        if self._page is None:
            raise error
        self.hear(PageOutcome(self._page, None, error))

    def _tell(self, event: JobEvent) -> None:
        if self._failure is not None:
            return
        try:
            self.listener(event)
        except BaseException as error:  # noqa: BLE001 - raised once the child has stopped
            self._failure = error
