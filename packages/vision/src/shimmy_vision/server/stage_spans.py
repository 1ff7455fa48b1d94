"""The stages of an analysis as spans, told apart by the progress that its work reports."""

from __future__ import annotations

from shimmy_vision.ports.analyst import JobEvent, PageOutcome, Restarted
from shimmy_vision.ports.progress import PageProgress, Progress, Stage
from shimmy_vision.ports.tracing import Span

# Of a document of many pages the rest is left out.
_MOST = 256


class StageSpans:
    """One stage at a time, of each page; for events that come one by one, on whatever thread."""

    def __init__(self, analysis: Span) -> None:
        self._analysis = analysis
        self._open: dict[int, tuple[Stage, Span]] = {}
        self._count = 0

    def hear(self, event: JobEvent) -> None:
        """Where the work is now."""
        match event:
            case Progress(stage=stage):
                self._enter(0, stage)
            case PageProgress(page=page, within=Progress(stage=stage)):
                self._enter(page, stage)
            case PageOutcome(page=page):
                self._leave(page)
            case Restarted():
                self._analysis.note({"shimmy.restarted": True})
                self.close()
            case _:
                pass

    def close(self) -> None:
        """The work has ended, wherever it was."""
        for page in tuple(self._open):
            self._leave(page)

    def _enter(self, page: int, stage: Stage) -> None:
        now = self._open.get(page)
        if now is not None and now[0] == stage:
            return
        self._leave(page)
        if self._count < _MOST:
            self._count += 1
            facts = {"shimmy.page": page} if page else None
            self._open[page] = stage, self._analysis.begin(stage, facts)

    def _leave(self, page: int) -> None:
        left = self._open.pop(page, None)
        if left is not None:
            left[1].end()
