"""The mirror serves ranges as a hub does, refuses what is outside, and fails as told."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from shimmy_sandbox.model_mirror import Faults, Mirror, serve_models

DATA = bytes(range(256)) * 1000


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub/file.gguf").write_bytes(DATA)
    (tmp_path / "secret").write_bytes(b"outside")
    return tmp_path / "hub"


def _get(mirror: Mirror, path: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    return _fetch(mirror.url + path, **headers)


def _fetch(url: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, headers=named)  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request) as reply:  # noqa: S310 - loopback
            return reply.status, reply.read(), dict(reply.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), dict(error.headers)


def test_whole_files_and_ranges(hub: Path) -> None:
    with serve_models(hub) as mirror:
        status, body, headers = _get(mirror, "/org/repo/resolve/main/file.gguf")
        assert (status, body) == (200, DATA)
        status, body, ranged = _get(mirror, "/file.gguf", Range="bytes=1000-")
        assert (status, body) == (206, DATA[1000:])
        assert ranged["Content-Range"] == f"bytes 1000-{len(DATA) - 1}/{len(DATA)}"
        tag = headers["ETag"]
        assert _get(mirror, "/file.gguf", Range="bytes=9-", If_Range=tag)[0] == 206
        assert _get(mirror, "/file.gguf", Range="bytes=9-", If_Range='"other"')[0] == 200
        status, _, headers = _get(mirror, "/file.gguf", Range=f"bytes={len(DATA)}-")
        assert (status, headers["Content-Range"]) == (416, f"bytes */{len(DATA)}")


@pytest.mark.parametrize("path", ["/missing", "/../secret", "/%2e%2e/secret", "/x/../../secret"])
def test_nothing_outside_the_folder_is_served(hub: Path, path: str) -> None:
    with serve_models(hub) as mirror:
        assert _get(mirror, path)[0] == 404


def test_it_listens_on_loopback_only(hub: Path) -> None:
    with serve_models(hub) as mirror:
        assert mirror.url.startswith("http://127.0.0.1:")


def test_a_fault_happens_as_often_as_told(hub: Path) -> None:
    with serve_models(hub, Faults(corrupt_at=5, corrupt_times=1)) as mirror:
        first, second = _get(mirror, "/file.gguf")[1], _get(mirror, "/file.gguf")[1]
    assert first != DATA
    assert [i for i in range(len(DATA)) if first[i] != DATA[i]] == [5]
    assert second == DATA
    with serve_models(hub, Faults(status=503, status_times=2)) as mirror:
        assert [_get(mirror, "/file.gguf")[0] for _ in range(3)] == [503, 503, 200]


def test_tags_and_pages_that_mislead(hub: Path) -> None:
    with serve_models(hub, Faults(weak_tags=True)) as mirror:
        assert _get(mirror, "/file.gguf")[2]["ETag"].startswith('W/"')
    with serve_models(hub, Faults(web_page=True)) as mirror:
        status, body, headers = _get(mirror, "/file.gguf", Range="bytes=5-")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert body.startswith(b"<!doctype html>")


def test_the_command_serves_the_faults_it_was_told(hub: Path) -> None:
    start = "import sys; from shimmy_sandbox.cli.main import main; sys.exit(main())"
    told = ["mirror", str(hub), "--status", "503", "--times", "2", "--retry-after", "7"]
    with subprocess.Popen(
        [sys.executable, "-c", start, *told],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        url = server.stdout.readline().strip()
        replies = [_fetch(f"{url}/file.gguf") for _ in range(3)]
        server.terminate()
        assert "not for production" in server.stderr.read()
    assert [(status, headers.get("Retry-After")) for status, _, headers in replies] == [
        (503, "7"),
        (503, "7"),
        (200, None),
    ]
