"""Nothing holds a slot for ever, and one's mistake is one's own."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from pdf_writer import text_page, write_pdf
from serving import Gate, PlayedAnalyst, serve

from shimmy_vision.ports.analyst import DocumentJob, ImageJob, Job, JobListener, PageOutcome, UrlJob
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.server import vision_routes
from shimmy_vision.server.app import create_app
from shimmy_vision.server.app_state import ServerOptions
from shimmy_vision.server.jobs import JobLimits
from shimmy_vision.server.logs import start_logging
from shimmy_vision.server.orders import plan_order

PNG = b"\x89PNG\r\n\x1a\nrest"
ENCODED = base64.b64encode(PNG).decode()
PDF = base64.b64encode(write_pdf(text_page("one"))).decode()


class Server:
    def __init__(self, url: str, analyst: PlayedAnalyst) -> None:
        self.url, self.analyst = url, analyst
        self.client = httpx.Client(base_url=url, timeout=20)


Open = Callable[..., Server]


@pytest.fixture
def open_server() -> Iterator[Open]:
    with ExitStack() as opened:

        def opening(play: Any, **options: Any) -> Server:
            analyst = PlayedAnalyst(play)
            app = create_app(analyst, ServerOptions(**options), lambda: None)
            server = Server(opened.enter_context(serve(app)), analyst)
            opened.callback(server.client.close)
            return server

        yield opening


def test_nothing_is_worked_on_for_longer_than_the_server_allows(open_server: Open) -> None:
    gate = Gate()
    server = open_server(gate, slots=1, max_seconds=0.3)
    late = server.client.post("/api/vision", json={"image": ENCODED})
    assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline-exceeded")
    gate.open.clear()
    longer = {"image": ENCODED, "timeout_ms": 20_000}
    assert server.client.post("/api/vision", json=longer).status_code == 504
    gate.open.set()
    for body, wanted in (
        ({"image": PDF}, 0.3),
        ({"image": PDF, "timeout_ms": 200}, 0.2),
        ({"image": PDF, "timeout_ms": 20_000}, 0.3),
        ({"url": "https://a.example"}, 0.3),
    ):
        server.client.post("/api/vision", json=body)
        job = server.analyst.jobs[-1]
        assert isinstance(job, DocumentJob | UrlJob)
        assert job.page_seconds == wanted
    part = {"type": "image_url", "image_url": {"url": "https://a.example"}}
    server.client.post(
        "/v1/chat/completions", json={"messages": [{"role": "user", "content": [part]}]}
    )
    job = server.analyst.jobs[-1]
    assert isinstance(job, UrlJob)
    assert job.page_seconds == 0.3


def test_waiting_is_not_counted(open_server: Open) -> None:
    def play(*_: Any) -> dict[str, Any]:
        time.sleep(0.1)
        return {"meta": {}}

    # Twenty of them take half a second more than one may, and one a fifteenth of it.
    server = open_server(play, slots=1, max_seconds=1.5)
    statuses: list[int] = []

    def ask() -> None:
        with httpx.Client(base_url=server.url, timeout=20) as own:
            statuses.append(own.post("/api/vision", json={"image": ENCODED}).status_code)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 20


def test_a_mistake_of_ours_costs_one_entry_of_a_batch(
    open_server: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = plan_order

    def plan(body: Any, limits: Any) -> Any:
        if body.prompt == "fail":
            raise RuntimeError("secret")
        return whole(body, limits)

    monkeypatch.setattr(vision_routes, "plan_order", plan)
    server = open_server(lambda *_: {"meta": {}})
    items = [{"image": ENCODED}, {"image": ENCODED, "prompt": "fail"}, {"image": ENCODED}]
    response = server.client.post("/api/vision/batch", json={"items": items})
    told = response.json()["items"]
    assert [one["status"] for one in told] == [200, 500, 200]
    assert told[1]["error"]["code"] == "internal"
    assert "secret" not in response.text


def test_large_images_of_a_batch_are_decoded_on_other_threads(
    open_server: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    whole = plan_order

    def plan(body: Any, limits: Any) -> Any:
        names.append(threading.current_thread().name)
        return whole(body, limits)

    monkeypatch.setattr(vision_routes, "plan_order", plan)
    server = open_server(lambda *_: {"meta": {}})
    large = base64.b64encode(PNG + bytes(300_000)).decode()
    server.client.post("/api/vision/batch", json={"items": [{"image": large}]})
    assert names != ["serve"]


def test_a_batch_that_its_client_left_plans_no_more_and_is_no_200(
    open_server: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    planned: list[Any] = []
    whole = plan_order

    def plan(body: Any, limits: Any) -> Any:
        planned.append(body)
        return whole(body, limits)

    monkeypatch.setattr(vision_routes, "plan_order", plan)
    server = open_server(gate, slots=1)
    body = json.dumps({"items": [{"image": ENCODED}] * 5}).encode()
    name, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((name, int(port))) as line:
        line.sendall(
            b"POST /api/vision/batch HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        assert gate.begun.acquire(timeout=10)
    until = time.monotonic() + 60
    wanted = 'shimmy_requests_total{endpoint="vision-batch",status="499"} 1.0'
    while wanted not in server.client.get("/metrics").text:
        assert time.monotonic() < until
    assert len(planned) == 1


def test_a_result_that_cannot_be_kept_ends_its_job(open_server: Open) -> None:
    def play(_job: Job, _switch: Cancellation, hear: JobListener) -> None:
        hear(PageOutcome(1, {"odd": {1, 2}}, None))

    server = open_server(play)
    job = server.client.post("/api/vision/jobs", json={"image": PDF}).json()
    until = time.monotonic() + 60
    while (told := server.client.get(job["url"]).json())["status"] in ("waiting", "running"):
        assert time.monotonic() < until
    assert (told["status"], told["error"]["code"]) == ("failed", "internal")


@pytest.mark.parametrize("stream", [False, True])
def test_a_number_that_json_does_not_have_is_null(open_server: Open, stream: bool) -> None:
    server = open_server(lambda *_: {"meta": {}, "x": float("nan")})
    response = server.client.post("/api/vision", json={"image": ENCODED, "stream": stream})
    assert response.status_code == 200
    assert '"x": null' in response.text
    job = server.client.post("/api/vision/jobs", json={"image": ENCODED}).json()
    until = time.monotonic() + 60
    while (told := server.client.get(job["url"]).json())["status"] != "done":
        assert time.monotonic() < until
    assert told["result"] == {"meta": {}, "x": None}


def test_who_finds_no_place_in_the_line_evicts_nobodys_job(open_server: Open) -> None:
    gate = Gate()
    gate.open.set()
    server = open_server(gate, slots=1, queue=1, jobs=JobLimits(number=3))
    done = server.client.post("/api/vision/jobs", json={"image": ENCODED}).json()
    until = time.monotonic() + 60
    while server.client.get(done["url"]).json()["status"] != "done":
        assert time.monotonic() < until
    gate.open.clear()
    orders = [server.client.post("/api/vision/jobs", json={"image": ENCODED}) for _ in range(3)]
    assert [order.status_code for order in orders] == [202, 202, 429]
    assert orders[2].json()["error"]["code"] == "server-busy"
    assert server.client.get(done["url"]).status_code == 200
    gate.open.set()


def test_forms_are_not_quoted_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    kept = root.handlers[:], root.level
    try:
        start_logging()
        logging.getLogger("python_multipart.multipart").warning("secret")
        assert capsys.readouterr().err == ""
    finally:
        root.handlers[:], root.level = kept


def test_a_callback_does_not_hold_up_the_stop() -> None:
    from shimmy_vision.server.callbacks import Callbacks

    tried = threading.Event()

    class Post:
        def check(self, _url: str) -> None:
            """Any."""

        def post(self, *_: Any) -> int:
            tried.set()
            return 503

    async def main() -> float:
        app = create_app(
            PlayedAnalyst(lambda *_: {}),
            ServerOptions(drain_seconds=0.3),
            lambda: None,
            callbacks=Callbacks(Post(), "secret", (30.0,)),
        )
        state = app.state.shimmy
        async with app.router.lifespan_context(app):
            from shimmy_vision.server.bodies import JobBody

            order = plan_order(JobBody(image=ENCODED), state.options.limits)
            assert isinstance(order.job, ImageJob)
            run, delivery = state.runs.start(order.job), state.jobs.order_callback("https://a.b")
            state.jobs.keep(run, delivery)
            # Until the first attempt has failed, which is when the pause begins.
            assert await asyncio.to_thread(tried.wait, 20)
            while delivery.code is None:
                await asyncio.sleep(0.01)
            began = time.monotonic()
        return time.monotonic() - began

    # Half a minute, if the pause before the second attempt were waited for.
    assert asyncio.run(main()) < 15
