"""``/api/vision/jobs`` on a real socket: ordered now, fetched later, told to whoever wants it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import jsonschema
import pytest
from line_client import Names
from pdf_writer import text_page, write_pdf
from serving import Gate, Play, PlayedAnalyst, serve
from threads import until
from web_places import Canary, Site, keep_canary, redirect, serve_site

from shimmy_vision.adapters.web.guarded_post import GuardedPost
from shimmy_vision.domain.web.allow_list import AllowList, read_allow_list
from shimmy_vision.errors import ImageError, LicenceError
from shimmy_vision.ports.analyst import Job, JobListener, PageOutcome, Restarted
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.progress import PageProgress, Progress
from shimmy_vision.server.app import create_app
from shimmy_vision.server.app_state import ServerOptions
from shimmy_vision.server.callbacks import Callbacks
from shimmy_vision.server.guard import GuardRules, digest_key
from shimmy_vision.server.jobs import JobLimits

PNG = b"\x89PNG\r\n\x1a\nrest"
ENCODED = base64.b64encode(PNG).decode()
PDF = base64.b64encode(write_pdf(text_page("one"), text_page("two"))).decode()
RESULT = {"meta": {"mode": "full"}}
SECRET = "whsec of the test"
JOBS = "/api/vision/jobs"
LAST = ("done", "failed", "cancelled")


def answer(_job: Job, _switch: Cancellation, _hear: JobListener) -> dict[str, Any] | None:
    return RESULT


class Server:
    def __init__(self, url: str, analyst: PlayedAnalyst) -> None:
        self.url, self.analyst = url, analyst
        self.client = httpx.Client(base_url=url, timeout=20)

    def order(self, **body: Any) -> dict[str, Any]:
        response = self.client.post(JOBS, json={"image": ENCODED, **body})
        assert response.status_code == 202, response.text
        told: dict[str, Any] = response.json()
        assert response.headers["location"] == told["url"] == f"{JOBS}/{told['id']}"
        return told

    def show(self, job: dict[str, Any]) -> dict[str, Any]:
        response = self.client.get(job["url"])
        assert response.status_code == 200, response.text
        told: dict[str, Any] = response.json()
        return told

    def until(
        self, job: dict[str, Any], wanted: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        """Its state when ``wanted`` holds for it."""
        end = time.monotonic() + 20
        while not wanted(told := self.show(job)):
            assert time.monotonic() < end, told
        return told

    def finished(self, job: dict[str, Any]) -> dict[str, Any]:
        return self.until(job, lambda told: told["status"] in LAST)

    def told(self, job: dict[str, Any]) -> dict[str, Any]:
        """Its state when its callback has come to an end."""
        ends = ("delivered", "failed")
        return self.until(job, lambda told: told["callback"]["status"] in ends)

    def refusal(self, job: dict[str, Any], method: str = "GET") -> tuple[int, str]:
        response = self.client.request(method, job["url"])
        return response.status_code, response.json().get("error", {}).get("code", "")


Open = Callable[..., Server]


@pytest.fixture
def open_server() -> Iterator[Open]:
    with ExitStack() as opened:

        def opening(
            play: Play = answer, callbacks: Callbacks | None = None, **options: Any
        ) -> Server:
            analyst = PlayedAnalyst(play)
            app = create_app(analyst, ServerOptions(**options), lambda: None, callbacks=callbacks)
            server = Server(opened.enter_context(serve(app)), analyst)
            opened.callback(server.client.close)
            return server

        yield opening


def test_a_job_is_ordered_and_its_result_fetched_later(open_server: Open) -> None:
    gate = Gate()
    server = open_server(gate, slots=1)
    first, second = server.order(), server.order()
    assert gate.begun.acquire(timeout=10)
    assert first["id"] != second["id"]
    assert len(first["id"]) >= 22, "nobody guesses 128 bits"
    running, waiting = server.show(first), server.show(second)
    assert [one["status"] for one in (running, waiting)] == ["running", "waiting"]
    assert "result" not in running
    assert (running["finished"], running["callback"]) == (None, None)
    listed = server.client.get(JOBS).json()["jobs"]
    assert [(one["id"], one["status"]) for one in listed] == [
        (first["id"], "running"),
        (second["id"], "waiting"),
    ]
    gate.open.set()
    done = server.finished(second)
    assert (done["status"], done["result"]) == ("done", RESULT)
    assert done["created"] <= done["finished"]
    assert "error" not in done
    assert "pages" not in done
    assert all("result" not in one for one in server.client.get(JOBS).json()["jobs"])


def test_the_three_forms_are_taken(open_server: Open) -> None:
    server = open_server()
    forms: list[dict[str, Any]] = [
        {"json": {"image": ENCODED, "mode": "ocr"}},
        {"files": {"file": ("a.png", PNG)}, "data": {"mode": "ocr"}},
        {"content": PNG, "headers": {"Content-Type": "image/png"}, "params": {"mode": "ocr"}},
    ]
    for form in forms:
        response = server.client.post(JOBS, **form)
        assert response.status_code == 202
        assert server.finished(response.json())["result"] == RESULT
    assert len({str(job) for job in server.analyst.jobs}) == 1


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        ({"json": {}}, 400, "source-unclear"),
        ({"json": {"image": ENCODED, "stream": True}}, 422, "fields-invalid"),
        ({"json": {"image": ENCODED, "mode": "all"}}, 422, "fields-invalid"),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400, "json-malformed"),
        ({"content": b"x", "headers": {"Content-Type": "text/plain"}}, 415,
         "media-type-unsupported"),
        ({"files": {"file": PNG}, "data": {"url": "https://a.example"}}, 400, "source-unclear"),
        ({"content": PNG, "headers": {"Content-Type": "image/png"},
          "params": {"image": ENCODED}}, 400, "source-unclear"),
        ({"content": bytes(9000), "headers": {"Content-Type": "image/png"}}, 413, "body-too-large"),
    ],
)  # fmt: skip
def test_a_wrong_order_is_refused_at_once(
    open_server: Open, arguments: dict[str, Any], status: int, code: str
) -> None:
    server = open_server(rules=GuardRules(max_body=8000))
    response = server.client.post(JOBS, **arguments)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert server.client.get(JOBS).json() == {"jobs": []}


def test_a_job_tells_where_it_is_and_pages_as_they_are_done(open_server: Open) -> None:
    heard, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def play(_job: Job, _switch: Cancellation, hear: JobListener) -> None:
        for event in (
            PageProgress(1, 0, 2, Progress("encode", 1, 4)),
            PageOutcome(1, RESULT, None),
            PageProgress(2, 1, 2, Progress("generate", 9, 0)),
            Restarted(),
            PageOutcome(2, None, ImageError("page-corrupt", "broken")),
        ):
            hear(event)
            heard.release()
            assert go_on.acquire(timeout=20)

    server = open_server(play)
    job = server.order(image=PDF)

    def after(count: int, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        for _ in range(count):
            assert heard.acquire(timeout=20)
        told = server.until(job, wanted)
        go_on.release()
        return told

    told = after(1, lambda told: told["progress"] is not None)
    place = {"stage": "encode", "percent": 25.0, "page": 1, "pages_done": 0, "pages": 2}
    assert (told["status"], told["progress"]) == ("running", place)
    assert "pages" not in told
    assert after(1, lambda told: "pages" in told)["pages"] == [{"page": 1, "result": RESULT}]
    told = after(1, lambda told: told["progress"]["page"] == 2)
    assert (told["progress"]["stage"], told["progress"]["percent"]) == ("generate", None)
    assert len(after(1, lambda told: told["progress"] is None)["pages"]) == 1
    go_on.release()
    done = server.finished(job)
    assert (done["status"], len(done["pages"])) == ("done", 2)
    assert done["pages"][1]["error"]["code"] == "page-corrupt"
    assert "result" not in done


def test_a_failure_is_told_in_the_one_shape(open_server: Open) -> None:
    def fail(_job: Job, _switch: Cancellation, hear: JobListener) -> None:
        hear(PageOutcome(1, RESULT, None))
        raise LicenceError("page-cap-reached", "all used", hint="buy more")

    server = open_server(fail)
    told = server.finished(server.order(image=PDF))
    assert told["status"] == "failed"
    assert told["error"] == {
        "code": "page-cap-reached", "message": "all used", "hint": "buy more",
        "retryable": False, "type": told["error"]["type"], "param": None,
    }  # fmt: skip
    assert told["pages"] == [{"page": 1, "result": RESULT}], "what was paid for is not lost"


def test_time_runs_out_for_a_job_too(open_server: Open) -> None:
    server = open_server(Gate())
    told = server.finished(server.order(timeout_ms=50))
    assert (told["status"], told["error"]["code"]) == ("failed", "deadline-exceeded")


def test_a_waiting_and_a_running_job_are_cancelled_and_then_removed(open_server: Open) -> None:
    gate = Gate()
    server = open_server(gate, slots=1)
    running, waiting = server.order(), server.order()
    assert gate.begun.acquire(timeout=10)
    for job in (waiting, running):
        answered = server.client.delete(job["url"])
        state = answered.json()
        assert (answered.status_code, state["status"], state["removed"]) == (
            200,
            "cancelled",
            False,
        )
        assert server.show(job)["error"]["code"] == "interrupted"
    assert gate.stopped.acquire(timeout=10)
    assert len(server.analyst.jobs) == 1, "the one that waited was never begun"
    state = server.client.delete(running["url"]).json()
    assert (state["status"], state["removed"]) == ("cancelled", True)
    assert server.refusal(running) == (404, "job-unknown")
    assert server.refusal(running, "DELETE") == (404, "job-unknown")
    gate.open.set()
    assert server.finished(server.order())["status"] == "done", "the slot is free again"


def test_unknown_jobs_are_404(open_server: Open) -> None:
    server = open_server()
    for name in ("x", "..%2F..", "A" * 24, "%00"):
        assert server.refusal({"url": f"{JOBS}/{name}"}) in (
            (404, "job-unknown"),
            (404, "path-unknown"),
        )


def test_a_job_goes_on_when_its_client_is_gone(open_server: Open) -> None:
    gate = Gate()
    server = open_server(gate)
    body = json.dumps({"image": ENCODED}).encode()
    host = server.url.removeprefix("http://")
    name, _, port = host.partition(":")
    with socket.create_connection((name, int(port))) as line:
        line.sendall(
            f"POST {JOBS} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        assert gate.begun.acquire(timeout=10)
    (listed,) = server.client.get(JOBS).json()["jobs"]
    gate.open.set()
    assert server.finished({"url": f"{JOBS}/{listed['id']}"})["status"] == "done"


def test_the_line_and_the_memory_bound_jobs_too(open_server: Open) -> None:
    gate = Gate()
    server = open_server(gate, slots=1, queue=1, max_held_bytes=200)
    jobs = [server.order(), server.order()]
    full = server.client.post(JOBS, json={"image": ENCODED})
    assert (full.status_code, full.json()["error"]["code"]) == (429, "server-busy")
    assert int(full.headers["retry-after"]) >= 1
    large = server.client.post(JOBS, json={"image": ENCODED, "prompt": "x" * 200})
    assert (large.status_code, large.json()["error"]["code"]) == (429, "server-full")
    assert len(server.client.get(JOBS).json()["jobs"]) == 2, "who was refused is not kept"
    gate.open.set()
    for job in jobs:
        assert server.finished(job)["status"] == "done"
    assert "shimmy_held_bytes 0.0" in server.client.get("/metrics").text


def test_only_so_many_are_kept(open_server: Open) -> None:
    gate = Gate()
    server = open_server(gate, slots=1, jobs=JobLimits(number=2))
    first, second = server.order(), server.order()
    full = server.client.post(JOBS, json={"image": ENCODED})
    assert (full.status_code, full.json()["error"]["code"]) == (429, "jobs-full")
    assert "retry-after" in full.headers
    gate.open.set()
    server.finished(second)
    third = server.order()
    assert server.refusal(first) == (404, "job-unknown"), "the oldest that is finished"
    assert server.finished(third)["status"] == "done"
    assert server.show(second)["status"] == "done"


def test_who_is_still_to_be_told_is_kept_longer_than_the_others(
    open_server: Open, site: Site
) -> None:
    receiver = Receiver(site, *[503] * 10)
    waiting = _allowing(site.place, waits=(3600.0,))
    server = open_server(callbacks=waiting, jobs=JobLimits(number=2))
    telling = server.order(callback_url=receiver.url)
    server.until(telling, lambda told: told["callback"]["code"] == "http-503")
    plain = server.order()
    server.finished(plain)
    server.finished(server.order())
    assert server.refusal(plain) == (404, "job-unknown")
    assert server.show(telling)["callback"]["status"] == "delivering"
    again = server.order(callback_url=receiver.url)
    server.until(again, lambda told: told["callback"]["code"] == "http-503")
    server.finished(server.order())
    assert server.refusal(telling) == (404, "job-unknown"), "but it does not keep others out"
    server.client.delete(again["url"])


def test_results_are_kept_for_a_while_only(open_server: Open) -> None:
    server = open_server(jobs=JobLimits(seconds=0.05))
    job = server.order()
    end = time.monotonic() + 20
    while server.refusal(job) != (404, "job-unknown"):
        assert time.monotonic() < end
    metrics = server.client.get("/metrics").text
    assert "shimmy_jobs_kept 0.0" in metrics
    assert "shimmy_jobs_held_bytes 0.0" in metrics


def test_results_may_not_fill_the_memory(open_server: Open) -> None:
    def play(job: Job, switch: Cancellation, hear: JobListener) -> dict[str, Any] | None:
        if "DocumentJob" not in str(type(job)):
            return {"text": "x" * 700}
        for page in range(1, 100):
            hear(PageOutcome(page, {"text": "x" * 100}, None))
        stopped = threading.Event()
        with switch.when_cancelled(stopped.set):
            assert stopped.wait(20), "it is told to stop"
        switch.check()
        return None

    server = open_server(play, jobs=JobLimits(held_bytes=1500))
    first = server.order()
    server.finished(first)
    second = server.order()
    server.finished(second)
    assert server.show(second)["result"] == {"text": "x" * 700}
    third = server.order()
    server.finished(third)
    assert server.refusal(first) == (404, "job-unknown")
    endless = server.finished(server.order(image=PDF))
    assert (endless["status"], endless["error"]["code"]) == ("failed", "results-too-large")
    assert 1 <= len(endless["pages"]) < 20


def test_a_stop_finishes_what_was_ordered() -> None:
    gate = Gate()
    analyst = PlayedAnalyst(gate)
    with serve_site({"/hook": "thanks"}) as site:
        callbacks = Callbacks(GuardedPost(read_allow_list([site.place])), SECRET)
        app = create_app(analyst, ServerOptions(slots=1), lambda: None, callbacks=callbacks)
        with serve(app) as url:
            server = Server(url, analyst)
            for _ in range(2):
                server.order(callback_url=f"{site.url}/hook")
            assert gate.begun.acquire(timeout=10)
            server.client.close()

            def let_go() -> None:
                # Not before the server has been told to stop.
                until(lambda: bool(app.state.shimmy.line.stopping))
                gate.open.set()

            threading.Thread(target=let_go).start()
        assert (len(analyst.jobs), site.seen) == (2, ["/hook"] * 2)


class Receiver:
    """A client's address that hears of jobs; ``statuses`` are its answers, then 200."""

    def __init__(self, site: Site, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.signatures: list[str] = []
        self.site, self.url = site, f"{site.url}/hook"
        site.pages["/hook"] = self._hear

    def _hear(self, handler: BaseHTTPRequestHandler) -> None:
        self.signatures.append(handler.headers["Shimmy-Signature"])
        status = self.statuses.pop(0) if self.statuses else 200
        handler.wfile.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())


@pytest.fixture
def site() -> Iterator[Site]:
    with serve_site() as served:
        yield served


@pytest.fixture
def canary() -> Iterator[Canary]:
    with keep_canary() as kept:
        yield kept


def _allowing(*places: str, waits: tuple[float, ...] = (0.0, 0.0, 0.0)) -> Callbacks:
    return Callbacks(GuardedPost(read_allow_list(places)), SECRET, waits)


def _genuine(body: bytes, header: str) -> bool:
    """As the documentation tells a receiver to check it, with nothing of ours."""
    moment, _, signature = header.partition(",v1=")
    seconds = moment.removeprefix("t=")
    wanted = hmac.new(SECRET.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted, signature) and abs(time.time() - int(seconds)) < 60


def test_a_finished_job_is_told_signed(open_server: Open, site: Site) -> None:
    receiver, server = Receiver(site), open_server(callbacks=_allowing(site.place))
    job = server.order(callback_url=receiver.url)
    told = server.told(job)
    assert told["callback"] == {"status": "delivered", "attempts": 1, "code": None}
    ((body, header),) = zip(site.bodies, receiver.signatures, strict=True)
    assert _genuine(body, header)
    assert not _genuine(body + b" ", header)
    assert json.loads(body) == {"id": job["id"], "status": "done", "result": RESULT}
    assert site.headers[0]["content-type"] == "application/json"


def test_failures_documents_and_cancelled_jobs_are_told_too(open_server: Open, site: Site) -> None:
    def play(job: Job, _switch: Cancellation, hear: JobListener) -> None:
        hear(PageOutcome(1, RESULT, None))
        if "ImageJob" in str(type(job)):
            raise ImageError("image-corrupt", "broken")

    Receiver(site)
    server = open_server(play, callbacks=_allowing(site.place))
    for image, last in ((PDF, "done"), (ENCODED, "failed")):
        server.told(server.order(image=image, callback_url=f"{site.url}/hook"))
        body = json.loads(site.bodies[-1])
        assert body["status"] == last
        assert body["pages"] == [{"page": 1, "result": RESULT}]
    assert json.loads(site.bodies[-1])["error"]["code"] == "image-corrupt"
    gate = Gate()
    server = open_server(gate, callbacks=_allowing(site.place))
    job = server.order(callback_url=f"{site.url}/hook")
    assert server.show(job)["callback"] == {"status": "waiting", "attempts": 0, "code": None}
    server.client.delete(job["url"])
    server.told(job)
    assert json.loads(site.bodies[-1])["status"] == "cancelled"


@pytest.mark.parametrize(
    ("statuses", "end", "attempts", "code"),
    [
        ((500, 429, 503), "delivered", 4, None),
        ((503, 503, 503, 502, 200), "failed", 4, "http-502"),
        ((404,), "failed", 1, "http-404"),
        ((410,), "failed", 1, "http-410"),
    ],
)
def test_what_may_go_better_later_is_tried_three_times_more(
    open_server: Open, site: Site, statuses: tuple[int, ...], end: str, attempts: int, code: Any
) -> None:
    receiver, server = Receiver(site, *statuses), open_server(callbacks=_allowing(site.place))
    told = server.told(server.order(callback_url=receiver.url))
    assert told["callback"] == {"status": end, "attempts": attempts, "code": code}
    assert len(receiver.signatures) == attempts
    assert len(set(site.bodies)) == 1, "each try says the same"
    assert told["result"] == RESULT, "the job itself is done"


def test_nobody_there_is_tried_again_too(open_server: Open) -> None:
    # Taken, so that no other test's server gets the port, and nobody listens.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        server = open_server(callbacks=_allowing(place))
        told = server.told(server.order(callback_url=f"http://{place}/"))
    assert told["callback"] == {"status": "failed", "attempts": 4, "code": "fetch-failed"}


def test_redirects_of_a_callback_lead_nowhere(
    open_server: Open, site: Site, canary: Canary
) -> None:
    site.pages["/hook"] = redirect(canary.url, 307)
    server = open_server(callbacks=_allowing("127.0.0.1"))
    told = server.told(server.order(callback_url=f"{site.url}/hook"))
    assert told["callback"] == {"status": "failed", "attempts": 1, "code": "http-307"}
    assert canary.hits == 0


def test_hostile_callback_urls_are_refused_at_once(open_server: Open, canary: Canary) -> None:
    server = open_server(callbacks=Callbacks(GuardedPost(AllowList()), SECRET))
    for url in (canary.url, "http://169.254.169.254/latest/meta-data/", "http://[::1]:80/",
                f"http://0x7f.1:{canary.port}/", "http://10.0.0.1/", "http://u:p@a.example/",
                "file:///etc/passwd", "gopher://a.example/", "https://a.example:22/"):  # fmt: skip
        for form in ({"json": {"image": ENCODED, "callback_url": url}},
                     {"files": {"file": PNG}, "data": {"callback_url": url}}):  # fmt: skip
            response = server.client.post(JOBS, **form)
            assert (response.status_code, response.json()["error"]["code"]) == (400, "url-refused")
    assert (canary.hits, server.analyst.jobs) == (0, [])


def test_names_that_lead_inside_are_found_out_when_it_is_sent(
    open_server: Open, canary: Canary
) -> None:
    names = Names({"rebind.example": [["127.0.0.1"]], "mixed.example": [["9.9.9.9", "10.0.0.1"]]})
    post = GuardedPost(AllowList(), resolve=names)
    server = open_server(callbacks=Callbacks(post, SECRET, (0.0,)))
    for host in ("rebind.example", "mixed.example"):
        url = f"http://{host}:{canary.port}/"
        told = server.told(server.order(callback_url=url))
        assert told["callback"] == {"status": "failed", "attempts": 1, "code": "url-refused"}
    assert canary.hits == 0


def test_without_a_secret_there_are_no_callbacks(open_server: Open) -> None:
    for callbacks in (None, Callbacks(GuardedPost(AllowList()), None)):
        server = open_server(callbacks=callbacks)
        body = {"image": ENCODED, "callback_url": "https://a.example/"}
        response = server.client.post(JOBS, json=body)
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (400, "callback-secret-missing")
        assert "SHIMMY_CALLBACK_SECRET" in error["hint"]
        assert server.analyst.jobs == []


def test_a_removed_job_is_not_told_any_more(open_server: Open, site: Site) -> None:
    receiver = Receiver(site, 503)
    server = open_server(callbacks=_allowing(site.place, waits=(3600.0,)))
    job = server.order(callback_url=receiver.url)
    server.until(job, lambda told: told["callback"]["code"] == "http-503")
    assert server.client.delete(job["url"]).json()["removed"] is True
    # Else the stop of the server would wait for the next try.


def test_no_url_or_id_is_ever_logged(
    open_server: Open, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = Receiver(site, 404)
    server = open_server(callbacks=_allowing(site.place))
    with caplog.at_level("INFO", "shimmy_vision"):
        job = server.order(callback_url=f"{receiver.url}?token=abc")
        server.told(job)
    lines = [f"{one.getMessage()} {vars(one)}" for one in caplog.records
             if one.name.startswith("shimmy_vision")]  # fmt: skip
    assert any("'event'" not in line and line.startswith("callback ") for line in lines)
    for line in lines:
        for word in (site.place, "token=abc", job["id"], SECRET):
            assert word not in line


def test_jobs_want_a_key_too(open_server: Open) -> None:
    server = open_server(rules=GuardRules(api_keys=(digest_key("alpha"),)))
    for method, path in (("POST", ""), ("GET", ""), ("GET", "/x"), ("DELETE", "/x")):
        assert server.client.request(method, JOBS + path).status_code == 401


def test_every_state_is_as_the_description_says(open_server: Open, site: Site) -> None:
    gate = Gate()

    def play(job: Job, switch: Cancellation, hear: JobListener) -> None:
        hear(PageProgress(1, 0, 2, Progress("load", 0, 0)))
        gate(job, switch, hear)
        raise ImageError("image-corrupt", "broken")

    receiver = Receiver(site)
    server = open_server(play, slots=1, callbacks=_allowing(site.place))
    described = server.client.get("/openapi.json").json()

    def check(method: str, path: str, status: int, told: Any) -> None:
        answer = described["paths"][path][method]["responses"][str(status)]
        schema = answer["content"]["application/json"]["schema"]
        jsonschema.validate(told, {**schema, "components": described["components"]})

    one = f"{JOBS}/{{job_id}}"
    job, waiting = server.order(callback_url=receiver.url), server.order()
    assert gate.begun.acquire(timeout=10)
    check("post", JOBS, 202, job)
    check("get", one, 200, server.until(job, lambda told: told["progress"] is not None))
    check("get", one, 200, server.show(waiting))
    check("delete", one, 200, server.client.delete(waiting["url"]).json())
    gate.open.set()
    check("get", one, 200, server.told(job))
    check("get", JOBS, 200, server.client.get(JOBS).json())
    check("get", one, 404, server.client.get(f"{JOBS}/x").json())
