"""A stop has one deadline; at it everybody who waits is told, in the form they asked for."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import Gate, PlayedAnalyst, serve
from threads import until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from shimmy_vision.cli import listening
from shimmy_vision.ports.analyst import Job, JobListener
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.server.app import create_app
from shimmy_vision.server.app_state import ServerOptions

ENCODED = base64.b64encode(b"\x89PNG\r\n\x1a\nrest").decode()
ASKED = {"image": ENCODED}
DRAIN = 0.6


class Deaf:
    """A play that does not hear its switch, as native code may not, until the test ends."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.open = threading.Event()

    def __call__(self, _job: Job, _switch: Cancellation, _hear: JobListener) -> dict[str, Any]:
        self.begun.release()
        assert self.open.wait(20)
        return {"meta": {}}


@contextmanager
def stopping(
    play: Any, drain: float = DRAIN, **options: Any
) -> Iterator[tuple[str, list[Any], Callable[..., None]]]:
    """A server that is stopped at the block's end; threads' findings, and how to start one."""
    app = create_app(
        PlayedAnalyst(play), ServerOptions(drain_seconds=drain, **options), lambda: None
    )
    found: list[Any] = []
    threads: list[threading.Thread] = []

    def start(work: Callable[[str], Any]) -> None:
        threads.append(threading.Thread(target=lambda: found.append(work(url))))
        threads[-1].start()

    with serve(app, drain_seconds=drain) as url:
        yield url, found, start
        began = time.monotonic()
    # Whoever is held here is held for twenty seconds.
    assert time.monotonic() - began < drain + 10, "it did not end by itself"
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.parametrize("make", [Gate, Deaf])
def test_at_the_deadline_everybody_gets_an_answer(make: Any) -> None:
    play = make()

    def ask(path: str, body: Any) -> Callable[[str], Any]:
        def work(url: str) -> Any:
            response = httpx.post(url + path, json=body, timeout=20)
            return path, response.status_code, response.headers, response.text

        return work

    with stopping(play, slots=3) as (_, found, start):
        start(ask("/api/vision", ASKED))
        start(ask("/api/vision?stream=1", {**ASKED, "stream": True}))
        start(ask("/api/vision/batch", {"items": [ASKED]}))
        for _ in range(3):
            assert play.begun.acquire(timeout=10)
    play.open.set()
    told = {path: (status, headers, text) for path, status, headers, text in found}
    status, headers, text = told["/api/vision"]
    assert (status, json.loads(text)["error"]["code"]) == (503, "server-stopping")
    assert headers["retry-after"]
    status, _, text = told["/api/vision?stream=1"]
    assert status == 200
    assert text.rstrip().splitlines()[-2] == "event: error"
    assert "server-stopping" in text
    (entry,) = json.loads(told["/api/vision/batch"][2])["items"]
    assert (entry["status"], entry["error"]["code"]) == (503, "server-stopping")


def test_who_waits_in_the_line_and_on_a_socket_is_told_too() -> None:
    play = Deaf()

    def talk(url: str) -> Any:
        with connect(url.replace("http", "ws") + "/ws/vision", proxy=None) as line:
            for name in ("a", "b"):
                line.send(json.dumps({"id": name, **ASKED}))
            told = []
            try:
                while True:
                    told.append(json.loads(line.recv(timeout=10)))
            except ConnectionClosed as end:
                return told, end.rcvd

    with stopping(play, slots=1) as (url, found, start):
        start(talk)
        assert play.begun.acquire(timeout=10)
        until(lambda: httpx.get(f"{url}/ready", timeout=20).json()["waiting"] == 1)
    play.open.set()
    ((told, end),) = found
    assert sorted((one["id"], one["data"]["error"]["code"]) for one in told) == [
        ("a", "server-stopping"),
        ("b", "server-stopping"),
    ]
    assert end.code == 1001


def _lets_in(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=10).close()
    except OSError:
        return False
    return True


def test_none_is_taken_from_the_first_moment_on() -> None:
    gate = Gate()
    seen: list[Any] = []

    def ask_twice(url: str) -> Any:
        with httpx.Client(base_url=url, timeout=20) as kept:
            return kept.post("/api/vision", json=ASKED).status_code

    # So long it does not take: what was under way ends once the gate is open.
    with stopping(gate, drain=20) as (url, found, start):
        start(ask_twice)
        assert gate.begun.acquire(timeout=10)
        name, _, port = url.removeprefix("http://").partition(":")
        # It began before the stop, and has not asked yet.
        begun = socket.create_connection((name, int(port)), timeout=10)
        body = json.dumps(ASKED).encode()
        begun.sendall(
            b"POST /api/vision HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        )
        # Who comes later is answered: by then the server has seen this one.
        for _ in range(2):
            assert httpx.get(f"{url}/health", timeout=20).status_code == 200

        def ask_late() -> None:
            # The stop has begun once nobody is let in any more.
            while _lets_in(name, int(port)):
                time.sleep(0.01)
            begun.sendall(body)
            seen.append(begun.recv(65536))
            gate.open.set()

        late = threading.Thread(target=ask_late)
        late.start()
    late.join(30)
    begun.close()
    assert seen[0].startswith(b"HTTP/1.1 503")
    assert found == [200], "what was under way is finished"


def test_a_handler_that_is_cut_off_still_says_why() -> None:
    """Where not even the deadline helps, uvicorn cancels what is under way."""
    from shimmy_vision.server.guard import Guard, GuardRules
    from shimmy_vision.server.meters import Meters

    async def never(*_: Any) -> None:
        await asyncio.sleep(60)

    async def main() -> list[Any]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            await asyncio.sleep(60)

        scope = {
            "type": "http", "method": "BREW" * 100, "path": "/api/vision",
            "headers": [(b"host", b"127.0.0.1"), (b"content-length", b"5")],
        }  # fmt: skip
        guard = Guard(never, GuardRules(), Meters())
        task = asyncio.create_task(guard(scope, receive, send))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait_for(task, 30)
        return sent

    start, body = asyncio.run(main())
    assert start["status"] == 503
    assert json.loads(body["body"])["error"]["code"] == "server-stopping"


def test_only_known_methods_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(PlayedAnalyst(lambda *_: {}), ServerOptions(), lambda: None)
    with caplog.at_level("INFO"), serve(app) as url:
        httpx.request("SECRETWORD", f"{url}/health")
        httpx.request("PATCH", f"{url}/health")
    methods = [record.fields["method"] for record in caplog.records if hasattr(record, "fields")]
    assert methods == ["other", "PATCH"]


_SERVER = """
import sys
from pathlib import Path
from serving import PlayedAnalyst
from shimmy_vision.cli.listening import Places, serve_app
from shimmy_vision.server.app import create_app
from shimmy_vision.server.app_state import ServerOptions
app = create_app(PlayedAnalyst(lambda *_: {}), ServerOptions(), lambda: None)
serve_app(app, Places("127.0.0.1", 0, Path(sys.argv[1])), 1)
"""


def test_two_servers_begin_at_once_and_one_has_the_socket(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    support = str(Path(__file__).parents[1] / "support")
    environment = {**os.environ, "PYTHONPATH": support}
    with ExitStack() as started:
        both = []
        for _ in range(2):
            command = [sys.executable, "-c", _SERVER, str(path)]
            one = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment)
            started.enter_context(one)
            started.callback(one.kill)
            both.append(one)
        said = [one.stderr.readline() for one in both if one.stderr is not None]
        lost = [line.startswith(b"shimmy: no local socket") for line in said]
        assert sorted(lost) == [False, True], said
        loser, winner = both[lost.index(True)], both[lost.index(False)]
        for one in (loser, winner):
            assert stat.S_ISSOCK(path.lstat().st_mode)
            # Perhaps before uvicorn is there to hear it.
            one.send_signal(signal.SIGTERM)
            assert one.wait(60) == 0
    assert not path.exists()


def test_between_binding_and_listening_nobody_takes_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.sock"
    seen: list[bool] = []
    whole = listening._remove_stale

    def look(found: Path) -> None:
        """The second server comes while the first has bound and does not listen yet."""
        monkeypatch.setattr(listening, "_remove_stale", whole)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as first:
            first.bind(str(path))
            with listening._listen_locally(path) as second:
                seen.append(bool(second))
            assert path.exists()
        path.unlink()
        whole(found)

    monkeypatch.setattr(listening, "_remove_stale", look)
    with listening._listen_locally(path) as opened:
        assert opened
        assert seen == [False]
        path.unlink()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as another:
            another.bind(str(path))
            kept = path.lstat().st_ino
    assert path.lstat().st_ino == kept, "it removes its own alone"
