"""The page on loopback: what it answers, what it refuses, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pictures import empty_picture, full_picture

from shimmy_ops.adapters.monitoring.threading_shelf import PictureShelf
from shimmy_ops.domain.monitoring.picture import Picture
from shimmy_ops.errors import DeskError, MonitorError
from shimmy_ops.wiring.dashboards import serve_pages

SUPPORT = Path(__file__).parent / "support"


class Stop(BaseException):
    """Ends the sampling thread of a test."""


class Source:
    """Counts what is asked of it, and fails where told; another interval is another call."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.trouble: Exception | None = None
        self.stopping = False

    def __call__(self, window: str) -> Picture:
        if self.stopping:
            raise Stop
        self.asked.append(window)
        if self.trouble is not None:
            raise self.trouble
        return full_picture() if window == "24h" else empty_picture("live")


class Served:
    """A server with its sampling thread."""

    def __init__(self, url: str, source: Source) -> None:
        self.host = urlsplit(url).netloc
        self.source = source

    def ask(
        self, path: str = "/", method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> tuple[HTTPResponse, str]:
        connection = HTTPConnection(self.host, timeout=10)
        try:
            connection.request(method, path, headers=dict(headers or {}))
            answer = connection.getresponse()
            return answer, answer.read().decode()
        finally:
            connection.close()


def filling(
    keep_filled: Callable[[Callable[[str], Picture]], None], source: Callable[[str], Picture]
) -> threading.Thread:
    """Samples on a thread, until ``source`` raises Stop."""

    def fill() -> None:
        with pytest.raises(Stop):
            keep_filled(source)

    thread = threading.Thread(target=fill)
    thread.start()
    return thread


@contextmanager
def served(source: Source, interval: float = 0.05) -> Iterator[Served]:
    with serve_pages(interval, 0) as pages:
        thread = filling(pages.keep_filled, source)
        try:
            yield Served(pages.url, source)
        finally:
            source.stopping = True
            # A window that nobody read yet is sampled at once, however long the interval is.
            host = urlsplit(pages.url)
            with socket.create_connection(("127.0.0.1", host.port or 0), 5) as one:
                one.sendall(f"GET /?window=1h HTTP/1.0\r\nHost: {host.netloc}\r\n\r\n".encode())
                thread.join(10)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def still() -> Iterator[Served]:
    with served(Source(), 1.0) as opened:
        yield opened


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def test_the_page_is_kept_by_nobody_and_allowed_nothing(still: Served) -> None:
    answer, page = still.ask()
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Server"] == "shimmy-ops"
    assert '<meta http-equiv="refresh" content="5">' in page
    assert 'href="/?window=24h" aria-current="true"' in page
    assert 'href="/?window=24h&amp;refresh=off"' in page


def test_refreshing_can_be_stopped_and_stays_so_in_other_windows(still: Served) -> None:
    _, page = still.ask("/?refresh=off")
    assert 'http-equiv="refresh"' not in page
    assert 'href="/?window=7d&amp;refresh=off"' in page
    assert ">Refresh by itself</a>" in page


def test_the_picture_is_there_as_json(still: Served) -> None:
    answer, told = still.ask("/picture.json")
    assert answer.headers["Content-Type"] == "application/json"
    assert '"profile": "live"' in told


def test_head_is_get_without_a_body(still: Served) -> None:
    whole, page = still.ask("/?refresh=off")
    head, nothing = still.ask("/?refresh=off", "HEAD")
    assert (head.status, nothing) == (200, "")
    assert head.headers["Content-Length"] == whole.headers["Content-Length"]
    assert int(whole.headers["Content-Length"]) == len(page.encode())


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_refused(still: Served, method: str) -> None:
    answer, _ = still.ask("/", method, {"Content-Length": "0"})
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "localhost:1"]
)
def test_a_name_that_is_not_ours_is_refused(still: Served, host: str) -> None:
    port = still.host.partition(":")[2]
    answer, body = still.ask("/picture.json", headers={"Host": host.format(port=port)})
    assert answer.status == 421
    assert "profile" not in body
    assert still.ask(headers={"Host": f"LocalHost:{port}"})[0].status == 200


def _raw(server: Served, text: bytes) -> bytes:
    host, _, port = server.host.partition(":")
    with socket.create_connection((host, int(port)), 10) as one:
        one.sendall(text)
        one.shutdown(socket.SHUT_WR)
        parts = iter(lambda: one.recv(65536), b"")
        return b"".join(parts)


def test_no_host_two_hosts_and_nonsense_are_refused(still: Served) -> None:
    assert b" 421 " in _raw(still, b"GET / HTTP/1.0\r\n\r\n")
    ours = f"Host: {still.host}\r\n".encode()
    assert b" 421 " in _raw(still, b"GET / HTTP/1.1\r\n" + ours + ours + b"\r\n")
    assert b" 400 " in _raw(still, b"GET / HTTP/1.1 and more\r\n\r\n")
    body = b"POST / HTTP/1.1\r\n" + ours + b"Content-Length: 5\r\n\r\nhello"
    assert b" 405 " in _raw(still, body)


def test_unknown_paths_and_windows_are_told(still: Served) -> None:
    assert still.ask("/metrics")[0].status == 404
    assert still.ask("/../etc/passwd")[0].status == 404
    answer, body = still.ask("/?window=<b>")
    assert answer.status == 400
    assert "<b>" not in body
    assert "1h, 24h, 7d, 30d" in body


def test_many_readers_share_one_sample_and_another_window_is_sampled_when_read() -> None:
    source = Source()
    with served(source, 60.0) as server:
        for _ in range(5):
            assert "48,210" in server.ask()[1]
        assert source.asked == ["24h"]
        assert "48,210" not in server.ask("/?window=7d")[1]
        server.ask("/picture.json?window=7d")
        assert source.asked == ["24h", "7d"]


def test_a_window_that_nobody_reads_any_more_is_forgotten() -> None:
    source = Source()
    with served(source, 0.02) as server:
        server.ask("/?window=30d")
        until(lambda: source.asked[-8:] == ["24h"] * 8)


def test_who_waits_for_a_window_gets_it_however_long_the_samples_take() -> None:
    source, slow = Source(), threading.Event()

    def sample(window: str) -> Picture:
        if window == "24h":
            slow.wait(0.05)  # Five hundred intervals.
        return source(window)

    shelf = PictureShelf(0.0001)
    thread = filling(shelf.keep_filled, sample)
    try:
        for window in ("7d", "30d", "1h"):
            shelved = shelf.read(window, 20)
            assert shelved is not None
            assert shelved.picture is not None
    finally:
        source.stopping = True
        slow.set()
        thread.join(10)


def test_a_failed_sample_is_told_over_the_picture_of_before() -> None:
    source = Source()
    source.trouble = DeskError("store-unreachable", "The <store> is gone.")
    with served(source) as server:
        answer, body = server.ask()
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "5"
        assert "The <store> is gone. [store-unreachable]" in body
        assert answer.headers["Content-Type"].startswith("text/plain")
        source.trouble = None
        until(lambda: server.ask()[0].status == 200)
        source.trouble = DeskError("store-unreachable", "The <store> is gone.")
        until(lambda: "Not sampled" in server.ask()[1])
        page = server.ask()[1]
        assert "The &lt;store&gt; is gone." in page
        assert "48,210" in page


def test_only_loopback_is_listened_on(still: Served) -> None:
    assert still.host.startswith("127.0.0.1:")
    port = int(still.host.partition(":")[2])
    with socket.socket() as other, pytest.raises(OSError, match="refused"):
        # Another address of the same machine, also loopback: not listened on either.
        other.settimeout(5)
        other.connect(("127.0.0.2", port))


def test_a_port_in_use_is_one_sentence(still: Served) -> None:
    port = int(still.host.partition(":")[2])
    with pytest.raises(MonitorError, match=f"Port {port} .* cannot be used: Address already"):
        serve_pages(1.0, port).__enter__()
    with pytest.raises(MonitorError, match="no such port"):
        serve_pages(1.0, 70000).__enter__()


def test_ctrl_c_ends_it_at_once_and_without_a_traceback() -> None:
    code = (
        "import sys\nfrom pictures import full_picture\n"
        "from shimmy_ops.cli.dashboard.serving import run_page_server\n"
        "sys.exit(run_page_server(lambda window: full_picture(), 60.0, 0))"
    )
    environment = {**os.environ, "PYTHONPATH": str(SUPPORT)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, env=environment,
        # Whoever starts the tests in the background has Ctrl-C ignored in all they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:  # fmt: skip
        assert running.stderr is not None
        first = running.stderr.readline()
        assert first.startswith("http://127.0.0.1:")
        connection = HTTPConnection(urlsplit(first.split()[0]).netloc, timeout=10)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        running.send_signal(signal.SIGINT)
        assert running.stderr.read() == "stopped\n"
        assert running.wait(60) == 130
        connection.close()
