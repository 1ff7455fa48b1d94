"""What networks, mirrors and disks do to a download besides cutting it."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shimmy_sandbox.model_mirror import Faults, serve_models
from shimmy_vision.adapters.files.folder_model_store import FolderModelStore
from shimmy_vision.adapters.files.hashed_model_files import HashedModelFiles
from shimmy_vision.adapters.files.http_model_source import HttpModelSource
from shimmy_vision.domain.model.download import (
    AlreadyComplete,
    Append,
    AskAgain,
    PartState,
    Restart,
    ServerReply,
    decide_resume,
    read_number,
)
from shimmy_vision.domain.model.model_manifest import ModelFile, ModelPin
from shimmy_vision.errors import DownloadError, StoppedError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.use_cases.pull_model import PullCollaborators, pull_model

MAIN = bytes(range(256)) * 2500
PROJECTOR = b"projector" * 20_000
HALF = 400_000


def _file(name: str, data: bytes) -> ModelFile:
    return ModelFile(name, len(data), hashlib.sha256(data).hexdigest())


PIN = ModelPin(
    "4.6", "org/test", "main", "1B", _file("main.gguf", MAIN), _file("mmproj.gguf", PROJECTOR)
)
SIZE_UNKNOWN = replace(PIN, main=replace(PIN.main, size=None))


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    folder = tmp_path / "hub"
    folder.mkdir()
    (folder / "main.gguf").write_bytes(MAIN)
    (folder / "mmproj.gguf").write_bytes(PROJECTOR)
    return folder


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """The first half of the main file, left by an earlier attempt."""
    path = tmp_path / "models/minicpm-v-4.6/main.gguf.part"
    path.parent.mkdir(parents=True)
    path.write_bytes(MAIN[:HALF])
    return path


def _collaborators(tmp_path: Path, url: str) -> PullCollaborators:
    return PullCollaborators(
        FolderModelStore(tmp_path / "models"),
        HttpModelSource(url, timeout=20.0),
        HashedModelFiles(tmp_path / "digests.json"),
        sleep=lambda _seconds: None,
    )


def _pull(
    tmp_path: Path, url: str, pin: ModelPin = PIN, cancellation: Cancellation | None = None
) -> tuple[Path, Path]:
    return pull_model(
        pin, _collaborators(tmp_path, url), cancellation or Cancellation(), lambda *_: None
    )


def test_a_sign_in_page_costs_nothing_of_what_is_here(
    tmp_path: Path, hub: Path, part: Path
) -> None:
    with serve_models(hub, Faults(web_page=True)) as mirror:
        with pytest.raises(DownloadError) as refused:
            _pull(tmp_path, mirror.url)
        assert refused.value.code == "download-web-page"
        assert part.read_bytes() == MAIN[:HALF]
        mirror.state.faults.web_page = False
        _pull(tmp_path, mirror.url)
        assert mirror.state.requests[-2][1] == f"bytes={HALF}-"


def test_a_file_of_another_size_costs_nothing_either(tmp_path: Path, hub: Path, part: Path) -> None:
    (hub / "main.gguf").write_bytes(b"another file")
    with (
        serve_models(hub, Faults(ignore_range=True)) as mirror,
        pytest.raises(DownloadError) as refused,
    ):
        _pull(tmp_path, mirror.url)
    assert refused.value.code == "download-wrong-size"
    assert part.read_bytes() == MAIN[:HALF]


ENDLESS = {
    "changes for ever, weakly tagged": Faults(
        change_tag=True, weak_tags=True, cut_after=100_000, cut_times=10**6
    ),
    "a byte a connection": Faults(cut_after=1, cut_times=10**6),
    "no ranges, always cut": Faults(ignore_range=True, cut_after=HALF, cut_times=10**6),
}


@pytest.mark.parametrize("fault", ENDLESS)
def test_attempts_that_get_nowhere_end(tmp_path: Path, hub: Path, fault: str) -> None:
    with serve_models(hub, replace(ENDLESS[fault])) as mirror:
        with pytest.raises(DownloadError) as refused:
            _pull(tmp_path, mirror.url)
        assert refused.value.retryable
        assert len(mirror.state.requests) < 20


def test_a_plain_mirror_may_name_its_default_port(tmp_path: Path) -> None:
    """127.0.0.2 is loopback without being on the list of hosts that are always allowed."""
    with pytest.raises(DownloadError) as refused:
        _pull(tmp_path, "http://127.0.0.2:80/hub")
    assert refused.value.code == "download-network"


def test_a_size_that_only_the_server_knows_must_fit_too(
    tmp_path: Path, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FolderModelStore, "free_bytes", lambda _self: 200_300_000)
    with serve_models(hub) as mirror, pytest.raises(DownloadError) as refused:
        _pull(tmp_path, mirror.url, SIZE_UNKNOWN)
    assert refused.value.code == "disk-full"


def test_seeded_files_show_that_they_are_being_verified(tmp_path: Path) -> None:
    folder = tmp_path / "models/minicpm-v-4.6"
    folder.mkdir(parents=True)
    (folder / "main.gguf").write_bytes(MAIN)
    (folder / "mmproj.gguf").write_bytes(PROJECTOR)
    seen: list[tuple[str, str, int]] = []
    pull_model(
        PIN,
        _collaborators(tmp_path, "http://127.0.0.1:9"),
        Cancellation(),
        lambda file, phase, done, _total: seen.append((file.name, phase, done)),
    )
    assert seen == [("main.gguf", "verify", len(MAIN)), ("mmproj.gguf", "verify", len(PROJECTOR))]


def _silent_server(first_bytes: bytes) -> Iterator[str]:
    """Takes a request, sends ``first_bytes`` and nothing more."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def serve() -> None:
            try:
                while True:
                    connection, _address = server.accept()
                    held.append(connection)
                    connection.recv(65_536)
                    connection.sendall(first_bytes)
            except OSError:
                return  # the test is over

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        for connection in held:
            connection.close()
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture(params=[b"", b"HTTP/1.1 200 OK\r\nContent-Length: 640000\r\n\r\n" + MAIN[:5000]])
def silent(request: pytest.FixtureRequest) -> Iterator[str]:
    yield from _silent_server(request.param)


def test_a_silent_server_cannot_hold_up_the_switch(
    tmp_path: Path, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is hanging up on the last attempt reported as a network error."""
    monkeypatch.setattr("shimmy_vision.use_cases.pull_model._ATTEMPTS", 1)
    switch = Cancellation()
    thrown: list[float] = []

    def throw() -> None:
        thrown.append(time.monotonic())
        switch.cancel("interrupted")

    threading.Timer(0.3, throw).start()
    with pytest.raises(StoppedError):
        _pull(tmp_path, silent, cancellation=switch)
    # Its patience with a silent server is twenty seconds.
    assert time.monotonic() - thrown[0] < 10


def test_a_folder_that_cannot_be_locked_is_named(tmp_path: Path) -> None:
    store = FolderModelStore(tmp_path)
    (store.folder(PIN) / ".lock").mkdir(parents=True)
    with pytest.raises(DownloadError) as refused, store.lock(PIN, Cancellation(), lambda: None):
        pytest.fail("a folder was locked as if it were a file")
    assert refused.value.code == "model-folder-unusable"
    assert "SHIMMY_MODEL_DIR" in refused.value.hint


def test_a_part_is_closed_before_it_is_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows refuses to rename an open file."""
    store, rename = FolderModelStore(tmp_path), Path.replace
    store.folder(PIN).mkdir(parents=True)

    def rename_closed(source: Path, target: Path) -> Path:
        if source.suffix == ".part" and Path("/proc/self/fd").is_dir():
            assert str(source) not in _opened()
        return rename(source, target)

    monkeypatch.setattr(Path, "replace", rename_closed)
    with store.part(PIN, PIN.main) as part:
        part.restart("")
        part.append(MAIN)
        assert part.commit().read_bytes() == MAIN


def _opened() -> set[str]:
    """Files that this process has open; others of its threads may close theirs meanwhile."""
    found = set()
    for one in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.add(str(one.readlink()))
    return found


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("17", 17),
        ("", None),
        ("-1", None),
        ("²", None),
        ("1e3", None),
        ("9" * 5000, None),
    ],
)
def test_numbers_of_headers(text: str, number: int | None) -> None:
    assert read_number(text) == number


@given(
    st.integers(0, 2**40),
    st.sampled_from([200, 206, 416]),
    st.from_regex(r"\Abytes (\d{1,30}-\d{1,30}|\*)/(\d{1,30}|\*)\Z") | st.text(max_size=30),
    st.none() | st.integers(0, 2**40),
    st.text(max_size=3),
)
@example(5, 206, "bytes 5-9/" + "9" * 5000, None, "")
@example(5, 416, "bytes */" + "9" * 5000, None, "")
def test_every_reply_gets_a_decision(
    size: int, status: int, content_range: str, length: int | None, tag: str
) -> None:
    decision = decide_resume(PartState(size, "t"), ServerReply(status, tag, content_range, length))
    match decision:
        case Restart(total=total):
            assert (status, total) == (200, length)
        case Append(total=total):
            assert status == 206
            assert content_range.startswith(f"bytes {size}-")
            assert total is None or total >= 0
        case AlreadyComplete():
            assert (status, content_range) == (416, f"bytes */{size}")
        case AskAgain(reason=reason):
            assert status != 200
            assert len(reason) < 120
