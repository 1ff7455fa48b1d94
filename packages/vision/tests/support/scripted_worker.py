"""An engine process without an engine: its jobs' data say what it does. For tests alone."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from shimmy_vision import errors
from shimmy_vision.adapters.worker.engine_serving import serve_jobs
from shimmy_vision.domain.answer.analysis_request import AnalysisRequest, DocumentRequest
from shimmy_vision.ports.analyst import (
    DocumentJob,
    EngineStatus,
    ImageJob,
    Job,
    JobListener,
    PageOutcome,
    UrlJob,
)
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.progress import PageProgress, Progress

SCRIPTED = (sys.executable, __file__)


def scripted(do: str, **more: Any) -> ImageJob:
    """A job that does ``do``, after it told its ``stage`` if it is given one.

    Where it is given ``once``, a file's path, only in the first process that is given the job.
    """
    return ImageJob(json.dumps({"do": do, **more}).encode(), AnalysisRequest())


def scripted_pages(do: str, page_seconds: float | None = None, **more: Any) -> DocumentJob:
    """A document of three pages whose job ``do`` s before page ``at`` begins, or at the end (4)."""
    data = json.dumps({"do": do, **more}).encode()
    return DocumentJob(data, DocumentRequest(AnalysisRequest()), page_seconds)


class _Runner:
    def __init__(self) -> None:
        self._done = 0

    def analyse(
        self, job: Job, cancellation: Cancellation, listener: JobListener
    ) -> dict[str, Any] | None:
        assert not isinstance(job, UrlJob)
        script = json.loads(job.data)
        # Before anybody hears that it began: its process may be gone the moment after.
        if "once" in script and not _is_first(Path(script["once"])):
            script["do"] = "answer"
        if isinstance(job, DocumentJob):
            for page in (1, 2, 3, 4):
                if page == script["at"]:
                    _do(script, cancellation)
                if page < 4 and page not in job.told:
                    listener(PageProgress(page, page - 1, 3, Progress("decode", 0, 0)))
                    listener(PageOutcome(page, {"page": page}, None))
            return None
        if "stage" in script:
            listener(Progress(script["stage"], 0, 0))
        _do(script, cancellation)
        self._done += 1
        return {"process": os.getpid(), "key": job.key}

    def prepare(self, cancellation: Cancellation) -> None:
        cancellation.check()

    def status(self) -> EngineStatus:
        return EngineStatus(True, None, {"done": float(self._done)}, {})


def _is_first(mark: Path) -> bool:
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _do(script: dict[str, Any], cancellation: Cancellation) -> None:
    match script["do"]:
        case "abort":
            os.abort()
        case "stand-still":
            os.kill(os.getpid(), signal.SIGSTOP)
            threading.Event().wait()  # It stops when the kernel gets to it.
        case "hang":
            threading.Event().wait()
        case "sleep":
            time.sleep(script["seconds"])
        case "obey":
            stopped = threading.Event()
            with cancellation.when_cancelled(stopped.set):
                stopped.wait()
            cancellation.check()
        case "raise":
            kind: Any = getattr(errors, script["kind"])
            raise kind("a-code", "What happened")
        case _:
            pass


class _Unsayable(_Runner):
    """Results and errors that cannot be told."""

    def analyse(
        self, job: Job, cancellation: Cancellation, listener: JobListener
    ) -> dict[str, Any] | None:
        script = json.loads(job.data) if isinstance(job, ImageJob) else {}
        if script.get("do") != "unsayable":
            return super().analyse(job, cancellation, listener)
        nested: list[Any] = []
        for _ in range(5000):
            nested = [nested]
        told = {"nan": float("nan"), "object": object(), "nested": nested}
        if script["what"] == "message":
            raise errors.OutputError("a-code", object())  # type: ignore[arg-type]
        return {"told": told[script["what"]]}


if __name__ == "__main__":
    serve_jobs(_Unsayable(), sys.stdin.buffer, sys.stdout.buffer)
