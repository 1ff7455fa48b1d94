"""``shimmy vision`` on a running server: found where it would do the same, and not otherwise."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pdf_writer import text_page, write_pdf
from serving import Play, PlayedAnalyst, serve

from shimmy_vision import __version__
from shimmy_vision.cli import warm_server
from shimmy_vision.cli.main import main
from shimmy_vision.domain.answer.analysis_request import CustomQuestion, StandardQuestion
from shimmy_vision.errors import (
    DeadlineError,
    ImageError,
    LicenceError,
    LicenceServerError,
    ModelError,
    ShimmyError,
    UsageError,
    error_of_kind,
    kind_of,
)
from shimmy_vision.ports.analyst import DocumentJob, ImageJob, Job, JobListener, PageOutcome, UrlJob
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.progress import PageProgress, Progress, Written
from shimmy_vision.server.app import create_app
from shimmy_vision.server.app_state import LocalOffer, ServerOptions
from shimmy_vision.settings import digest_settings, read_settings
from shimmy_vision.wiring import vision as wiring_of_vision

PNG = b"\x89PNG\r\n\x1a\nrest"
RESULT = {"meta": {"mode": "full"}, "answer": "ä"}
PDF = write_pdf(text_page("one"), text_page("two"))


def answer(_job: Job, _switch: Cancellation, hear: JobListener) -> dict[str, Any] | None:
    hear(Progress("encode", 1, 2))
    hear(Written(0, "{"))
    return RESULT


class AwayError(Exception):
    """The command has gone to work without the server."""


@pytest.fixture
def image(tmp_path: Path) -> str:
    path = tmp_path / "shot.png"
    path.write_bytes(PNG)
    return str(path)


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a name short enough for a socket's, open to its owner only."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


Start = Callable[..., PlayedAnalyst]


@pytest.fixture
def start(short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    for name in [name for name in os.environ if name.startswith("SHIMMY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SHIMMY_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("SHIMMY_SOCKET", str(short / "s.sock"))

    def away(*_: Any) -> None:
        raise AwayError

    monkeypatch.setattr(wiring_of_vision, "open_vision", away)
    with ExitStack() as running:

        def starting(
            play: Play = answer, model: str | None = None, **options: Any
        ) -> PlayedAnalyst:
            analyst = PlayedAnalyst(play)
            offer = LocalOffer(digest_settings(read_settings()), model, 30_000)
            app = create_app(analyst, ServerOptions(local=offer, **options), lambda: None)
            running.enter_context(serve(app, local=str(short / "s.sock")))
            return analyst

        yield starting


def test_an_image_is_analysed_there(
    start: Start, image: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    analyst = start()
    assert main(["vision", image, "--mode", "ocr", "--max-tokens", "9", "--seed", "4"]) == 0
    assert json.loads(capsys.readouterr().out) == RESULT
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "string"}')
    assert (
        main(
            ["vision", image, "--prompt", "what?", "--schema", str(schema), "--raw", "--all-slices"]
        )
        == 0
    )
    first, second = analyst.jobs
    assert isinstance(first, ImageJob)
    assert isinstance(second, ImageJob)
    assert first.data == second.data == PNG
    assert first.request.question == StandardQuestion("ocr")
    assert (first.request.limits.max_tokens, first.request.limits.seed) == (9, 4)
    assert second.request.question == CustomQuestion("what?", {"type": "string"})
    assert (first.request.raw, second.request.raw) == (False, True)
    assert (first.request.slices, second.request.slices) == ("auto", "all")


def test_pages_come_as_they_are_done(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def play(_job: Job, _switch: Cancellation, hear: JobListener) -> None:
        hear(PageProgress(2, 0, 2, Progress("encode", 1, 7)))
        hear(PageOutcome(2, RESULT, None))
        hear(PageOutcome(3, None, ImageError("page-corrupt", "broken")))

    analyst = start(play)
    document = tmp_path / "a.pdf"
    document.write_bytes(PDF)
    arguments = ["vision", str(document), "--pages", "2-3", "--dpi", "70", "--timeout", "9000"]
    assert main(arguments) == 1
    out = capsys.readouterr()
    lines = [json.loads(line) for line in out.out.splitlines()]
    assert (lines[0]["page"], lines[0]["result"]) == (2, RESULT)
    assert (lines[1]["page"], lines[1]["error"]["code"]) == (3, "page-corrupt")
    (job,) = analyst.jobs
    assert isinstance(job, DocumentJob)
    assert (job.request.dpi, job.page_seconds) == (70, 9.0)
    assert [(one.first, one.last) for one in job.request.pages] == [(2, 3)]


def test_urls_are_visited_there(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    analyst = start()
    arguments = ["--viewport", "375x667", "--scale", "2", "--viewport-only", "--timeout", "8000"]
    assert main(["vision", "--url", "https://a.example/?token=1", *arguments]) == 0
    assert json.loads(capsys.readouterr().out) == RESULT
    (job,) = analyst.jobs
    assert isinstance(job, UrlJob)
    assert (job.url, job.page_seconds) == ("https://a.example/?token=1", 8.0)
    assert (job.view.width, job.view.height, job.view.device_scale) == (375, 667, 2.0)
    assert job.view.full_page is False


@pytest.mark.parametrize(
    "extra",
    [
        ["--no-server"],
        ["--threads", "3"],
        ["--gpu-layers", "0"],
        ["--verify"],
        ["--license", "K"],
        ["--machine-id", "m"],
        ["--max-dim", "500"],
        ["--max-image-mb", "60"],
        ["--max-tokens", "5000"],
        ["--model", "2.6"],
    ],
)
def test_what_the_server_does_not_do_is_done_here(
    start: Start, image: str, extra: list[str]
) -> None:
    analyst = start(model="4.6")
    with pytest.raises(AwayError):
        main(["vision", image, *extra])
    assert analyst.jobs == []
    assert main(["vision", image, "--model", "4.6"]) == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SHIMMY_MODEL", "2.6"),
        ("SHIMMY_LICENSE_KEY", "other"),
        ("SHIMMY_MACHINE_ID", "other"),
        ("SHIMMY_ALLOW_SYNTHETIC", "1"),
        ("SHIMMY_OFFLINE", "1"),
        ("SHIMMY_STATE_DIR", "/elsewhere"),
    ],
)
def test_other_settings_are_another_server(
    start: Start, image: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    start()
    monkeypatch.setenv(name, value)
    with pytest.raises(AwayError):
        main(["vision", image])


def test_another_version_is_not_asked(
    start: Start, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    start()
    monkeypatch.setattr("shimmy_vision.cli.warm_server.__version__", "0.0.9")
    with pytest.raises(AwayError):
        main(["vision", image])


def test_a_socket_that_others_could_have_put_there_is_not_asked(
    start: Start, image: str, short: Path
) -> None:
    start()
    short.chmod(0o777)
    with pytest.raises(AwayError):
        main(["vision", image])
    short.chmod(0o700)
    assert main(["vision", image]) == 0


def test_no_server_at_all(start: Start, image: str, short: Path) -> None:
    with pytest.raises(AwayError):
        main(["vision", image])
    (short / "s.sock").write_text("no socket")
    with pytest.raises(AwayError):
        main(["vision", image])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LicenceError("licence-missing", "none", hint="activate"), 2),
        (ModelError("model-not-installed", "none", hint="pull"), 3),
        (ImageError("image-corrupt", "broken"), 1),
        (DeadlineError("deadline-exceeded", "late"), 5),
        (UsageError("prompt-too-long", "long"), 64),
    ],
)
def test_errors_are_the_same_as_here(
    start: Start, image: str, capsys: pytest.CaptureFixture[str], error: ShimmyError, code: int
) -> None:
    def fail(*_: Any) -> dict[str, Any]:
        raise error

    start(fail)
    assert main(["vision", image]) == code
    said = capsys.readouterr().err
    assert f"{error.message} [{error.code}]" in said
    assert error.hint in said


def test_a_timeout_stops_the_work_there(start: Start, image: str) -> None:
    stopped = threading.Event()

    def hold(_job: Job, switch: Cancellation, _hear: JobListener) -> dict[str, Any]:
        with switch.when_cancelled(stopped.set):
            assert stopped.wait(20)
        switch.check()
        return RESULT

    start(hold)
    assert main(["vision", image, "--timeout", "1500"]) == 5
    assert stopped.wait(10)


def test_a_command_waits_for_its_turn(
    start: Start, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, release = threading.Semaphore(0), threading.Event()

    def hold(_job: Job, _switch: Cancellation, _hear: JobListener) -> dict[str, Any]:
        begun.release()
        assert release.wait(60)
        return RESULT

    analyst = start(hold, slots=1, queue=0)
    codes: list[int] = []
    first = threading.Thread(target=lambda: codes.append(_quietly(image)))
    first.start()
    assert begun.acquire(timeout=60)

    def pause(seconds: float) -> None:
        # There was no place for it: only now there will be one.
        release.set()
        time.sleep(seconds)

    monkeypatch.setattr(warm_server, "time", SimpleNamespace(sleep=pause))
    assert main(["vision", image]) == 0
    assert release.is_set()
    first.join(60)
    assert (codes, len(analyst.jobs)) == ([0], 2)


def _quietly(image: str) -> int:
    """As another process would; this thread may set no signal handlers."""
    return subprocess.run(
        [sys.executable, "-m", "shimmy_vision", "vision", image],
        stdout=subprocess.DEVNULL,
        check=False,
    ).returncode


def test_a_server_that_dies_is_said(
    start: Start, image: str, capsys: pytest.CaptureFixture[str], short: Path
) -> None:
    del start  # for its settings only
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(short / "s.sock"))
        listener.listen(4)
        told = json.dumps(
            {
                "version": __version__,
                "settings": digest_settings(read_settings()),
                "model": None,
                "stopping": False,
                "max_dimension": 30_000,
                "max_image_bytes": 50_000_000,
                "max_document_bytes": 200_000_000,
                "max_tokens": 4096,
            }
        )
        thread = threading.Thread(target=_answer_once_then_hang_up, args=(listener, told))
        thread.start()
        assert main(["vision", image]) == 3
        thread.join(10)
    assert "server-lost" in capsys.readouterr().err


def _answer_once_then_hang_up(listener: Any, told: str) -> None:
    first, _ = listener.accept()
    with first:
        first.recv(65536)
        first.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(told)}\r\n\r\n{told}".encode())
    second, _ = listener.accept()
    with second:
        second.recv(65536)
        second.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nevent: progress\n"
        )


def test_every_kind_of_error_comes_through() -> None:
    def kinds(one: type[ShimmyError]) -> list[type[ShimmyError]]:
        return [one, *(deep for below in one.__subclasses__() for deep in kinds(below))]

    for kind in kinds(ShimmyError):
        raised: ShimmyError = kind.__new__(kind)
        ShimmyError.__init__(raised, "a-code", "m", hint="h", retryable=True)
        told = error_of_kind(kind_of(raised), "a-code", "m", hint="h", retryable=True)
        assert type(told) is kind
        assert (told.code, told.message, told.hint, told.retryable) == ("a-code", "m", "h", True)
    server = error_of_kind("licence_server_error", "a", "b", hint="", retryable=True)
    assert isinstance(server, LicenceServerError)
    assert server.retry_after is None
    assert type(error_of_kind("unheard_of", "a", "b", hint="", retryable=False)) is ShimmyError
