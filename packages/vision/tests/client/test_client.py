"""Both clients against a real server: every method, every way it goes wrong."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from client_faces import Face, Held
from licence_world import Customer, Shop
from pdf_writer import text_page, write_pdf
from serving import PlayedAnalyst
from threads import until

from shimmy_vision.client import (
    ApiError,
    Done,
    Options,
    Page,
    Progress,
    Restarted,
    ServerUnreachable,
    Written,
)
from shimmy_vision.domain.answer.analysis_request import CustomQuestion, StandardQuestion
from shimmy_vision.errors import BusyError, ImageError, LibraryError, LicenceError
from shimmy_vision.ports import progress as told
from shimmy_vision.ports.analyst import DocumentJob, ImageJob, Job, JobListener, PageOutcome, UrlJob
from shimmy_vision.ports.analyst import Restarted as ToldRestarted
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.server.bodies import VisionOptions
from shimmy_vision.server.guard import GuardRules, digest_key
from shimmy_vision.use_cases.activate_licence import activate_licence

PNG = b"\x89PNG\r\n\x1a\nrest"
PDF = write_pdf(text_page("one"), text_page("two"))
EMPTY: Any = {"meta": {}}
RESULT: Any = {"meta": {"mode": "full"}}
Open = Callable[..., tuple[str, PlayedAnalyst]]


def answer(_job: Job, _switch: Cancellation, _hear: JobListener) -> Any:
    return RESULT


def two_pages(_job: Job, _switch: Cancellation, hear: JobListener) -> dict[str, Any] | None:
    hear(told.PageProgress(1, 0, 2, told.Progress("encode", 1, 4)))
    hear(told.PageWritten(1, told.Written(0, "a")))
    hear(PageOutcome(1, RESULT, None))
    hear(ToldRestarted())
    hear(PageOutcome(2, None, ImageError("page-corrupt", "broken", hint="mend it")))
    return None


def test_an_image_comes_in_any_form(open_server: Open, face: type[Face], tmp_path: Path) -> None:
    url, analyst = open_server(answer)
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    for image in (PNG, bytearray(PNG), memoryview(PNG), path, str(path), io.BytesIO(PNG)):
        assert face(url).do("analyze", image, mode="ocr") == RESULT
    jobs = [job for job in analyst.jobs if isinstance(job, ImageJob)]
    assert [job.data for job in jobs] == [PNG] * 6
    assert {job.request.question for job in jobs} == {StandardQuestion("ocr")}
    with pytest.raises(FileNotFoundError):
        face(url).do("analyze", tmp_path / "none.png")
    with pytest.raises(ValueError, match="analyze_url"):
        face(url).do("analyze", "https://a.example/a.png")


def test_the_client_has_every_option_of_the_api() -> None:
    named = {field.alias or name for name, field in VisionOptions.model_fields.items()}
    assert set(Options.__annotations__) == named


def test_every_option_reaches_the_job(open_server: Open, face: type[Face]) -> None:
    url, analyst = open_server(two_pages)
    options = Options(
        prompt="what?\n\"é\"", schema={"type": "object"}, pages="2-", dpi=90, viewport="375x667",
        scale=2, full_page=False, max_tokens=7, seed=3, raw=True, cache=False, slices="all",
        timeout_ms=1500,
    )  # fmt: skip
    face(url).do("analyze_document", PDF, **options)
    face(url).do("analyze_url", "https://a.example/", **options)
    document, page = analyst.jobs
    assert isinstance(document, DocumentJob)
    assert isinstance(page, UrlJob)
    assert document.request == page.request
    analysis = document.request.analysis
    assert analysis.question == CustomQuestion('what?\n"é"', {"type": "object"})
    assert (analysis.limits.max_tokens, analysis.limits.seed) == (7, 3)
    assert (analysis.raw, analysis.cache, document.request.dpi) == (True, False, 90)
    assert analysis.slices == "all"
    assert document.request.pages[0].first == 2
    view = page.view
    assert (view.width, view.height, view.device_scale, view.full_page) == (375, 667, 2, False)
    assert document.page_seconds == page.page_seconds == 1.5


def test_a_url_gives_a_result_or_a_document(open_server: Open, face: type[Face]) -> None:
    url, _ = open_server(answer)
    assert face(url).do("analyze_url", "https://a.example/") == RESULT
    url, _ = open_server(two_pages)
    first, second = face(url).do("analyze_url", "https://a.example/")["pages"]
    assert (first["result"], second["error"]["code"]) == (RESULT, "page-corrupt")


def test_a_documents_pages_keep_their_errors(open_server: Open, face: type[Face]) -> None:
    url, _ = open_server(two_pages)
    first, second = face(url).do("analyze_document", PDF)
    assert first == Page(1, RESULT, None)
    assert (second.page, second.result) == (2, None)
    error = second.error
    assert (error.code, error.hint, error.status) == ("page-corrupt", "mend it", None)
    url, _ = open_server(answer)
    (only,) = face(url).do("analyze_document", PNG)
    assert (only.page, only.result) == (1, RESULT)


def test_a_document_is_not_taken_for_an_image(open_server: Open, face: type[Face]) -> None:
    url, analyst = open_server(two_pages)
    with pytest.raises(ValueError, match="analyze_document"):
        face(url).do("analyze", PDF)
    assert analyst.jobs == []


def test_a_stream_tells_typed_events(open_server: Open, face: type[Face]) -> None:
    def play(_job: Job, _switch: Cancellation, hear: JobListener) -> Any:
        hear(told.Progress("encode", 1, 2))
        hear(told.Progress("load", 0, 0))
        hear(told.Written(1, '{"a":\r\n "é"'))
        hear(ToldRestarted())
        return RESULT

    url, analyst = open_server(play)
    expected = [
        Progress("encode", 1, 2, 50.0),
        Progress("load", 0, 0, None),
        Written(1, '{"a":\r\n "é"'),
        Restarted(),
        Done(RESULT),
    ]
    assert face(url).do("stream", PNG) == expected
    assert face(url).do("stream", url="https://a.example", mode="ocr") == expected
    assert isinstance(analyst.jobs[1], UrlJob)
    url, _ = open_server(two_pages)
    told_of_pages = face(url).do("stream", PDF)
    assert told_of_pages[:2] == [Progress("encode", 1, 4, 25.0, 1, 0, 2), Written(0, "a", 1)]
    assert [type(event) for event in told_of_pages[2:]] == [Page, Restarted, Page, Done]
    for wrong in ({}, {"image": PNG, "url": "https://a.example"}):
        with pytest.raises(ValueError, match="either"):
            face(url).do("stream", **wrong)


def test_a_batch_keeps_order_and_errors(open_server: Open, face: type[Face]) -> None:
    def play(job: Job, switch: Cancellation, hear: JobListener) -> dict[str, Any] | None:
        if isinstance(job, UrlJob):
            raise ImageError("image-corrupt", "broken")
        return two_pages(job, switch, hear) if isinstance(job, DocumentJob) else RESULT

    url, analyst = open_server(play)
    items = [
        {"image": PNG, "id": "a", "mode": "brief"},
        {"url": "https://a.example/b.png"},
        {"image": PDF},
    ]
    first, second, third = face(url).do("batch", items, mode="ocr")
    assert (first["id"], first["status"], first["result"]) == ("a", 200, RESULT)
    assert (second["status"], second["error"]["code"]) == (400, "image-corrupt")
    assert [page["page"] for page in third["pages"]] == [1, 2]
    questions = [job.request.question for job in analyst.jobs if isinstance(job, ImageJob)]
    assert questions == [StandardQuestion("brief")]


def test_ready_tells_why_not(open_server: Open, face: type[Face]) -> None:
    def refuse() -> None:
        raise LicenceError("licence-missing", "No licence.", hint="shimmy license activate KEY")

    url, _ = open_server(answer)
    assert face(url).do("ready")["ready"] is True
    url, _ = open_server(answer, refuse)
    told_why = face(url).do("ready")
    assert told_why["ready"] is False
    assert told_why["reasons"][0]["code"] == "licence-missing"


def test_a_job_is_ordered_and_fetched(open_server: Open, face: type[Face]) -> None:
    url, analyst = open_server(answer)
    ordered = face(url).do("submit", PNG, mode="ocr")
    assert ordered["status"] in ("waiting", "running", "done")
    job = face(url).do("wait", ordered["id"], timeout=10)
    assert (job["status"], job["result"], job["callback"]) == ("done", RESULT, None)
    assert face(url).do("job", ordered["id"]) == job
    assert isinstance(analyst.jobs[0], ImageJob)
    assert analyst.jobs[0].request.question == StandardQuestion("ocr")
    assert [one["id"] for one in face(url).do("jobs")] == [ordered["id"]]
    assert face(url).do("cancel", ordered["id"])["removed"] is True
    for name in ("job", "wait", "cancel"):
        with pytest.raises(ApiError, match="job-unknown"):
            face(url).do(name, ordered["id"])
    with pytest.raises(ApiError, match="job-unknown"):
        face(url).do("job", "ready?x=#")


def test_a_job_may_be_of_a_document_or_fail(open_server: Open, face: type[Face]) -> None:
    url, _ = open_server(two_pages)
    pages = face(url).do("wait", face(url).do("submit", PDF)["id"])["pages"]
    assert [page["page"] for page in pages] == [1, 2]

    def fail(*_: Any) -> dict[str, Any]:
        raise ImageError("image-corrupt", "broken")

    url, _ = open_server(fail)
    job = face(url).do("wait", face(url).do("submit", url="https://a.example/")["id"])
    assert (job["status"], job["error"]["code"]) == ("failed", "image-corrupt")
    with pytest.raises(ApiError, match="callback-secret-missing"):
        face(url).do("submit", PNG, callback_url="https://a.example/")


def test_a_job_is_cancelled_and_waited_for_in_vain(open_server: Open, face: type[Face]) -> None:
    held = Held(told.Progress("encode", 1, 2))
    url, _ = open_server(held)
    job_id = face(url).do("submit", PNG)["id"]
    until(lambda: face(url).do("job", job_id)["progress"] is not None)
    with pytest.raises(TimeoutError):
        face(url).do("wait", job_id, timeout=0.3)
    assert face(url).do("job", job_id)["progress"]["percent"] == 50
    assert face(url).do("cancel", job_id)["removed"] is False
    assert held.stopped.acquire(timeout=15)
    assert face(url).do("wait", job_id)["status"] == "cancelled"


def test_the_licence_is_told_of(
    open_server: Open, face: type[Face], session_shop: Shop, tmp_path: Path
) -> None:
    with ExitStack() as opened:
        customer = Customer(session_shop, tmp_path, opened=opened)
        url, _ = open_server(answer, licences=customer.process)
        with pytest.raises(ApiError, match="licence-missing") as caught:
            face(url).do("usage")
        assert caught.value.status == 401
        assert face(url).do("validate")["code"] == "licence-missing"
        with customer.process() as licensing:
            activate_licence(session_shop.sell("developer").key, licensing)
        assert face(url).do("usage")["pages_allowed"] == 2500
        assert face(url).do("validate", refresh=True)["valid"] is True


def test_models_are_listed(open_server: Open, face: type[Face]) -> None:
    url, _ = open_server(answer)
    assert face(url).do("models") == []


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (LicenceError("licence-missing", "none", hint="activate"), 401, None),
        (LicenceError("page-cap-reached", "all used"), 402, None),
        (ImageError("image-unsupported", "what?"), 415, None),
        (BusyError("server-full", "wait", retry_after=7), 429, 7.0),
        (LibraryError("engine-crashed", "gone", retryable=True), 502, 5.0),
        (LibraryError("browser-missing", "none", hint="apt install chromium"), 503, None),
        (RuntimeError("secret"), 500, None),
    ],
    ids=lambda value: getattr(value, "code", None),
)
def test_an_error_arrives_whole(
    open_server: Open, face: type[Face], error: Any, status: int, retry_after: float | None
) -> None:
    def fail(*_: Any) -> dict[str, Any]:
        raise error

    url, _ = open_server(fail)
    with pytest.raises(ApiError) as caught:
        face(url, retries=0).do("analyze", PNG)
    found = caught.value
    assert (found.status, found.retry_after) == (status, retry_after)
    assert found.code == getattr(error, "code", "internal")
    assert found.hint == getattr(error, "hint", found.hint)
    assert found.retryable == getattr(error, "retryable", True)
    with pytest.raises(ApiError) as caught:
        face(url, retries=0).do("stream", PNG)
    assert (caught.value.code, caught.value.status) == (found.code, None)


def test_what_is_refused_for_now_is_asked_again(
    open_server: Open, face: type[Face], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    ours, sleep, sleep_there = threading.current_thread(), time.sleep, anyio.sleep

    # The clients' alone: other threads, the server's among them, sleep in earnest.
    def pause(seconds: float) -> None:
        if threading.current_thread() is ours:
            pauses.append(seconds)
        else:
            sleep(seconds)

    async def wait(seconds: float) -> None:
        if threading.current_thread() is ours:
            pauses.append(seconds)
        else:
            await sleep_there(seconds)

    left: list[Any] = [BusyError("server-full", "wait", retry_after=wish) for wish in (3, 4, 5)]
    left.append(LibraryError("engine-resting", "soon", retryable=True, retry_after=6))

    def play(*_: Any) -> Any:
        if left:
            raise left.pop(0)
        return RESULT

    url, _ = open_server(play)
    with monkeypatch.context() as patched:
        patched.setattr("shimmy_vision.client.sync_client.time.sleep", pause)
        patched.setattr(anyio, "sleep", wait)
        with pytest.raises(ApiError):
            face(url, retries=1).do("analyze", PNG)
        assert pauses == [3]
        assert face(url).do("analyze", PNG) == RESULT
        assert pauses == [3, 5, 6]


@pytest.mark.parametrize(
    "error",
    [
        LibraryError("browser-missing", "none"),
        LibraryError("engine-broken", "gone"),
        BusyError("server-busy", "wait", retry_after=1000),
    ],
    ids=lambda error: error.code,
)
def test_what_would_not_help_is_not_asked_again(
    open_server: Open, face: type[Face], error: Any
) -> None:
    def fail(*_: Any) -> dict[str, Any]:
        raise error

    url, analyst = open_server(fail)
    with pytest.raises(ApiError):
        face(url, retries=5).do("analyze", PNG)
    assert len(analyst.jobs) == 1


@pytest.mark.parametrize("what", [told.Progress("encode", 1, 2), PageOutcome(1, RESULT, None)])
def test_closing_a_stream_stops_the_job_and_frees_its_slot(
    open_server: Open, face: type[Face], what: Any
) -> None:
    held = Held(what)
    url, _ = open_server(held, slots=1)
    name = "stream" if isinstance(what, told.Progress) else "analyze_document"

    def busy() -> int:
        found: int = httpx.get(f"{url}/ready").json()["busy"]
        return found

    def check() -> None:
        assert busy() == 1

    first = face(url).first(check, name, PDF)
    assert isinstance(first, Progress | Page)
    # Otherwise it is given up only after twenty seconds.
    assert held.stopped.acquire(timeout=10)
    until(lambda: busy() == 0)


def test_nobody_there(face: type[Face]) -> None:
    # Taken, so that no other test's server gets the port, and nobody listens.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ServerUnreachable, match="shimmy serve"):
            face(f"http://127.0.0.1:{port}").do("analyze", PNG)


@contextmanager
def answering(data: bytes, *, stay: bool = False) -> Iterator[str]:
    """A server of another kind: says ``data`` to whoever asks, then hangs up, or stays."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)

        def run() -> None:
            while not over.is_set():
                try:
                    line, _ = listener.accept()
                except TimeoutError:
                    continue
                # Who has lost patience is not there any more.
                with line, suppress(OSError):
                    line.settimeout(5)
                    line.recv(100_000)
                    line.sendall(data)
                    if stay:
                        over.wait(5)
                    # Who hangs up with a request half read is not heard to the end.
                    line.shutdown(socket.SHUT_WR)
                    while line.recv(100_000):
                        pass

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            thread.join()


def test_answers_of_something_else(face: type[Face]) -> None:
    def response(status: str, body: bytes) -> bytes:
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        return head.encode() + body

    for status in ("200 OK", "502 Bad Gateway"):
        for body in (b"<html>", b"", b'{"error": "x"}' if status != "200 OK" else b"\xff"):
            with answering(response(status, body)) as url, pytest.raises(ApiError) as caught:
                face(url).do("ready")
            assert caught.value.code == "answer-not-understood"
            assert caught.value.status == int(status[:3])


def test_a_connection_that_breaks_or_falls_silent(face: type[Face]) -> None:
    stream = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    event = b'event: progress\ndata: {"stage": "load", "done": 0, "total": 0}\n\n'
    with answering(stream + event + b"event: res") as url, pytest.raises(ServerUnreachable):
        face(url).do("stream", PNG)
    for half in (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", b"HTTP/1.1 200"):
        with answering(half) as url, pytest.raises(ServerUnreachable):
            face(url).do("analyze", PNG)
    with answering(stream + event, stay=True) as url:
        client = face(url, timeout=0.2)
        with pytest.raises(TimeoutError, match=r"0\.2 s"):
            client.do("stream", PNG)


def test_later_servers_may_tell_more(face: type[Face]) -> None:
    data = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        b': ping\n\nevent: weather\ndata: {"sun": 1}\n\nevent: result\ndata: {"meta": {}}\n\n'
    )
    with answering(data) as url:
        assert face(url).do("stream", PNG) == [Done(EMPTY)]


def test_the_key_is_given_or_in_the_environment(
    open_server: Open, face: type[Face], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = open_server(answer, rules=GuardRules(api_keys=(digest_key("alpha"),)))
    assert face(url, api_key="alpha").do("analyze", PNG) == RESULT
    with pytest.raises(ApiError, match="api-key-missing"):
        face(url).do("analyze", PNG)
    with pytest.raises(ApiError, match="api-key-wrong"):
        face(url, api_key="beta").do("analyze", PNG)
    monkeypatch.setenv("SHIMMY_API_KEY", " alpha\n")
    assert face(url).do("analyze", PNG) == RESULT


def test_a_proxy_does_not_stand_before_this_machine(
    open_server: Open, face: type[Face], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    url, _ = open_server(answer)
    assert face(url).do("analyze", PNG) == RESULT


def test_the_client_brings_nothing_of_the_engine() -> None:
    code = (
        "import sys, shimmy_vision.client;"
        "heavy = {'numpy', 'PIL', 'llama_cpp', 'llguidance', 'fastapi', 'pydantic', 'uvicorn'};"
        "ours = {'server', 'wiring', 'adapters', 'ports', 'use_cases', 'cli', 'errors'};"
        "ours = {f'shimmy_vision.{name}' for name in ours};"
        "print(sorted((heavy | ours) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
