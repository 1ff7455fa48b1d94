"""``/ws/vision`` on a real socket: several analyses on one connection."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
from pdf_writer import text_page, write_pdf
from serving import Gate, Play, PlayedAnalyst, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from shimmy_vision.errors import ImageError
from shimmy_vision.ports.analyst import DocumentJob, ImageJob, Job, JobListener, PageOutcome
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.progress import Progress, Written
from shimmy_vision.server.app import create_app
from shimmy_vision.server.app_state import ServerOptions
from shimmy_vision.server.guard import GuardRules, digest_key
from shimmy_vision.server.orders import OrderLimits

PNG = b"\x89PNG\r\n\x1a\nrest"
ENCODED = base64.b64encode(PNG).decode()
PDF = write_pdf(text_page("one"), text_page("two"))
RESULT = {"meta": {"mode": "full"}}


def answer(_job: Job, _switch: Cancellation, hear: JobListener) -> dict[str, Any] | None:
    hear(Progress("encode", 1, 2))
    hear(Written(0, "{}"))
    return RESULT


class Line:
    """A client's connection."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def order(self, named: Any, **more: Any) -> None:
        self.connection.send(json.dumps({"id": named, "image": ENCODED, **more}))

    def hear(self) -> tuple[Any, str, Any]:
        told = json.loads(self.connection.recv(timeout=20))
        assert set(told) == {"id", "event", "data"}
        return told["id"], told["event"], told["data"]

    def refused(self) -> tuple[Any, str]:
        named, event, data = self.hear()
        assert event == "error", data
        assert set(data["error"]) == {"code", "message", "hint", "retryable", "type", "param"}
        return named, data["error"]["code"]

    def result(self, named: Any) -> Any:
        """What ends the analysis ``named``, whatever comes before."""
        while True:
            told, event, data = self.hear()
            if told == named and event in ("result", "done", "error"):
                return data

    def closed(self) -> int:
        """The code it was closed with, after what is still said."""
        with pytest.raises(ConnectionClosed) as end:
            while True:
                self.connection.recv(timeout=20)
        assert end.value.rcvd is not None
        return end.value.rcvd.code


class Server:
    def __init__(self, url: str, analyst: PlayedAnalyst) -> None:
        self.url, self.analyst = url, analyst
        self.client = httpx.Client(base_url=url, timeout=20)

    @contextmanager
    def line(self, **arguments: Any) -> Iterator[Line]:
        address = self.url.replace("http://", "ws://") + "/ws/vision"
        with connect(address, max_size=None, proxy=None, **arguments) as connection:
            yield Line(connection)

    def until(self, busy: int, waiting: int) -> None:
        while True:
            state = self.client.get("/ready").json()
            if (state["busy"], state["waiting"]) == (busy, waiting):
                return


Open = Callable[..., Server]


@pytest.fixture
def open_server() -> Iterator[Open]:
    with ExitStack() as opened:

        def opening(play: Play = answer, longest_message: int = 1 << 20, **options: Any) -> Server:
            analyst = PlayedAnalyst(play)
            app = create_app(analyst, ServerOptions(**options), lambda: None)
            url = opened.enter_context(serve(app, longest_message=longest_message))
            server = Server(url, analyst)
            opened.callback(server.client.close)
            return server

        yield opening


def test_an_order_is_answered_with_the_events_of_the_stream(open_server: Open) -> None:
    server = open_server()
    with server.line() as line:
        line.order("a", mode="ocr")
        told = [line.hear() for _ in range(3)]
    stream = server.client.post("/api/vision", json={"image": ENCODED, "stream": True}).text
    blocks = [block.split("\n") for block in stream.split("\n\n") if block.startswith("event")]
    assert told == [("a", name[7:], json.loads(data[6:])) for name, data in blocks]
    assert told[-1] == ("a", "result", RESULT)


def test_a_file_may_come_in_a_frame_of_its_own(open_server: Open) -> None:
    def play(job: Job, _switch: Cancellation, hear: JobListener) -> dict[str, Any] | None:
        assert isinstance(job, (ImageJob, DocumentJob))
        if isinstance(job, DocumentJob):
            hear(PageOutcome(1, RESULT, None))
            return None
        return {"size": len(job.data)}

    server = open_server(play)
    with server.line() as line:
        line.order("a", image="binary")
        line.connection.send(PNG)
        assert line.result("a") == {"size": len(PNG)}
        line.order("b", image="binary", pages="1")
        line.connection.send(PDF)
        assert line.hear() == ("b", "page", {"page": 1, "result": RESULT})
        assert line.hear() == ("b", "done", {})


def test_several_are_under_way_at_once_and_one_is_cancelled(open_server: Open) -> None:
    gate = Gate()
    server = open_server(gate, slots=2)
    with server.line() as line:
        for named in ("a", "b", "c"):
            line.order(named)
        server.until(2, 1)
        line.connection.send(json.dumps({"cancel": "c"}))
        assert line.refused() == ("c", "interrupted")
        line.connection.send(json.dumps({"cancel": "c"}))
        line.connection.send(json.dumps({"cancel": "never"}))
        gate.open.set()
        assert sorted(line.hear() for _ in range(2)) == [
            ("a", "result", RESULT),
            ("b", "result", RESULT),
        ]
        assert len(server.analyst.jobs) == 2, "the one that waited was never begun"


def test_a_running_one_is_stopped_by_its_cancel(open_server: Open) -> None:
    gate = Gate()
    server = open_server(gate)
    with server.line() as line:
        line.order("a")
        assert gate.begun.acquire(timeout=10)
        line.connection.send(json.dumps({"cancel": "a"}))
        assert gate.stopped.acquire(timeout=10)
        assert line.refused() == ("a", "interrupted")


def test_who_goes_away_stops_everything_of_his(open_server: Open) -> None:
    gate = Gate()
    server = open_server(gate, slots=1)
    with server.line() as line:
        line.order("a")
        line.order("b")
        server.until(1, 1)
    assert gate.stopped.acquire(timeout=10)
    server.until(0, 0)
    assert len(server.analyst.jobs) == 1
    assert "shimmy_held_bytes 0.0" in server.client.get("/metrics").text


@pytest.mark.parametrize(
    ("message", "named", "code"),
    [
        ("{", None, "json-malformed"),
        ("[" * 5000, None, "json-malformed"),
        ("[1]", None, "fields-invalid"),
        ("{}", None, "fields-invalid"),
        ({"id": "", "image": ENCODED}, None, "fields-invalid"),
        ({"id": 5, "image": ENCODED}, None, "fields-invalid"),
        ({"id": "x" * 201, "image": ENCODED}, None, "fields-invalid"),
        ({"cancel": 5}, None, "fields-invalid"),
        ({"cancel": "a", "id": "a"}, "a", "fields-invalid"),
        ({"id": "a"}, "a", "source-unclear"),
        ({"id": "a", "image": ENCODED, "url": "https://a.example"}, "a", "source-unclear"),
        ({"id": "a", "image": "?"}, "a", "image-not-base64"),
        ({"id": "a", "image": ENCODED, "mode": "all"}, "a", "fields-invalid"),
        ({"id": "a", "image": ENCODED, "callback_url": "https://a.example"}, "a", "fields-invalid"),
        ({"id": "a", "image": ENCODED, "pages": "x"}, "a", "pages-malformed"),
        ({"id": "a", "image": base64.b64encode(PNG + bytes(2000)).decode()}, "a",
         "image-too-large"),
        (PNG, None, "binary-unexpected"),
    ],
)  # fmt: skip
def test_a_wrong_message_is_told_and_the_connection_stays(
    open_server: Open, message: Any, named: Any, code: str
) -> None:
    server = open_server(limits=OrderLimits(max_image_bytes=1500))
    with server.line() as line:
        line.connection.send(json.dumps(message) if isinstance(message, dict) else message)
        assert line.refused() == (named, code)
        line.order("next")
        assert line.result("next") == RESULT
    assert len(server.analyst.jobs) == 1


def test_a_file_that_does_not_come_is_missed_and_one_of_a_refused_order_is_dropped(
    open_server: Open,
) -> None:
    server = open_server()
    with server.line() as line:
        line.order("a", image="binary")
        line.order("b")
        assert line.refused() == ("a", "binary-missing")
        assert line.result("b") == RESULT
        line.order("c", image="binary", mode="all")
        assert line.refused() == ("c", "fields-invalid")
        line.connection.send(PNG)
        line.connection.send(PNG)
        assert line.refused() == (None, "binary-unexpected")
        line.order("d", image="binary")
        line.connection.send(b"")
        line.result("d")


def test_an_id_is_taken_while_it_is_under_way_and_free_at_once_after(open_server: Open) -> None:
    gate = Gate()
    server = open_server(gate)
    with server.line() as line:
        line.order("a")
        line.order("a")
        assert line.refused() == ("a", "order-id-taken")
        gate.open.set()
        for _ in range(20):
            assert line.result("a") == RESULT
            line.order("a")


def test_only_so_many_may_be_unfinished(open_server: Open) -> None:
    gate = Gate()
    server = open_server(gate, slots=1)
    with server.line() as line:
        for number in range(17):
            line.order(str(number))
        assert line.refused() == ("16", "orders-too-many")
        gate.open.set()
        for number in range(16):
            assert line.result(str(number)) == RESULT
        line.order("16")
        assert line.result("16") == RESULT


def test_line_and_memory_hold_here_too(open_server: Open) -> None:
    gate = Gate()
    server = open_server(gate, slots=1, queue=1, max_held_bytes=400)
    with server.line() as line:
        line.order("a")
        line.order("b")
        server.until(1, 1)
        line.order("c")
        assert line.refused() == ("c", "server-busy")
        line.order("d", prompt="x" * 400)
        assert line.refused() == (None, "server-full")
        line.order("e", image="binary")
        line.connection.send(bytes(400))
        assert line.refused() == ("e", "server-full")
        gate.open.set()
        assert line.result("b") == RESULT
    server.until(0, 0)
    assert "shimmy_held_bytes 0.0" in server.client.get("/metrics").text


def test_what_fails_is_told_under_its_id(open_server: Open) -> None:
    def fail(job: Job, *_: Any) -> dict[str, Any]:
        assert isinstance(job, ImageJob)
        if job.data == PNG:
            raise ImageError("image-corrupt", "broken")
        raise RuntimeError("secret")

    with open_server(fail).line() as line:
        line.order("a")
        assert line.refused() == ("a", "image-corrupt")
        line.order("b", image="binary")
        line.connection.send(PNG + b"x")
        named, _, data = line.hear()
        assert (named, data["error"]["code"]) == ("b", "internal")
        assert "secret" not in json.dumps(data)


def test_a_message_beyond_the_limit_closes_the_connection(open_server: Open) -> None:
    server = open_server(longest_message=5000)
    with server.line() as line:
        line.order("a", prompt="x" * 4000)
        assert line.result("a") == RESULT
        line.order("b", prompt="x" * 6000)
        assert line.closed() == 1009
    with server.line() as line:
        line.order("a")
        assert line.result("a") == RESULT


def test_strangers_are_refused_before_anything_is_heard(open_server: Open) -> None:
    server = open_server(rules=GuardRules(api_keys=(digest_key("alpha"),)))

    def status(server: Server, headers: dict[str, str], **more: Any) -> tuple[int, str]:
        with (
            pytest.raises(InvalidStatus) as refused,
            server.line(additional_headers=headers, **more),
        ):
            pass
        response = refused.value.response
        return response.status_code, json.loads(response.body)["error"]["code"]

    assert status(server, {}) == (401, "api-key-missing")
    assert status(server, {"Authorization": "Bearer beta"}) == (401, "api-key-wrong")
    with server.line(additional_headers={"Authorization": "Bearer alpha"}) as line:
        line.order("a")
        assert line.result("a") == RESULT
    server = open_server()
    assert status(server, {}, origin="https://evil.example") == (403, "origin-refused")
    with server.line(origin=server.url) as line:
        line.order("a")
        assert line.result("a") == RESULT
    server = open_server(rules=GuardRules(hosts=("pc.lan",)))
    assert status(server, {}) == (403, "host-refused")


def test_a_stop_tells_what_is_under_way_and_then_goes_away() -> None:
    gate = Gate()
    analyst = PlayedAnalyst(gate)
    app = create_app(analyst, ServerOptions(slots=1), lambda: None)
    with ExitStack() as lines:
        with serve(app) as url:
            server = Server(url, analyst)
            idle, busy = (lines.enter_context(server.line()) for _ in range(2))
            busy.order("a")
            busy.order("b")
            server.until(1, 1)
            server.client.close()

            def let_go() -> None:
                # The idle one is closed: so the server has been told to stop.
                assert idle.closed() == 1001
                gate.open.set()

            ending = threading.Thread(target=let_go)
            ending.start()
        ending.join(20)
        assert busy.hear() == ("a", "result", RESULT)
        assert busy.hear() == ("b", "result", RESULT)
        assert busy.closed() == 1001
