"""Downloads from a mirror that cuts, lies and corrupts: the right bytes or the right error."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from shimmy_sandbox.model_mirror import Faults, Mirror, serve_models
from shimmy_vision.adapters.files.folder_model_store import FolderModelStore, FolderPart
from shimmy_vision.adapters.files.hashed_model_files import HashedModelFiles
from shimmy_vision.adapters.files.http_model_source import HttpModelSource
from shimmy_vision.domain.model.model_manifest import ModelFile, ModelPin
from shimmy_vision.errors import DownloadError, StoppedError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.use_cases.pull_model import PullCollaborators, pull_model

MAIN = bytes(range(256)) * 2500  # 640,000 bytes: ten chunks of the mirror
PROJECTOR = b"projector" * 20_000


def _pin(main_size: int | None = len(MAIN)) -> ModelPin:
    def file(name: str, data: bytes, size: int | None) -> ModelFile:
        return ModelFile(name, size, hashlib.sha256(data).hexdigest())

    return ModelPin(
        "4.6",
        "openbmb/test",
        "main",
        "1B",
        file("main.gguf", MAIN, main_size),
        file("mmproj.gguf", PROJECTOR, len(PROJECTOR)),
    )


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    folder = tmp_path / "hub"
    folder.mkdir()
    (folder / "main.gguf").write_bytes(MAIN)
    (folder / "mmproj.gguf").write_bytes(PROJECTOR)
    return folder


def _collaborators(tmp_path: Path, url: str, *, offline: bool = False) -> PullCollaborators:
    return PullCollaborators(
        FolderModelStore(tmp_path / "models"),
        HttpModelSource(url, offline=offline, timeout=5.0),
        HashedModelFiles(tmp_path / "digests.json"),
        sleep=lambda _seconds: None,
    )


def _pull(
    tmp_path: Path,
    mirror: Mirror,
    pin: ModelPin | None = None,
    *,
    force: bool = False,
    cancellation: Cancellation | None = None,
    listener: Callable[[ModelFile, str, int, int], None] = lambda *_: None,
) -> tuple[Path, Path]:
    return pull_model(
        pin or _pin(),
        _collaborators(tmp_path, mirror.url),
        cancellation or Cancellation(),
        listener,
        force=force,
    )


def _installed(tmp_path: Path) -> bool:
    folder = tmp_path / "models/minicpm-v-4.6"
    whole = [(folder / "main.gguf", MAIN), (folder / "mmproj.gguf", PROJECTOR)]
    present = [path.exists() for path, _ in whole]
    for path, data in whole:
        if path.exists():
            assert path.read_bytes() == data, "a wrong file stands in its place"
    return all(present)


@pytest.mark.parametrize("size", [len(MAIN), None])
def test_a_plain_download(tmp_path: Path, hub: Path, size: int | None) -> None:
    with serve_models(hub) as mirror:
        main, projector = _pull(tmp_path, mirror, _pin(size))
        assert main.read_bytes() == MAIN
        assert projector.read_bytes() == PROJECTOR
        assert [path for path, _ in mirror.state.requests] == [
            "/openbmb/test/resolve/main/main.gguf",
            "/openbmb/test/resolve/main/mmproj.gguf",
        ]
        before = len(mirror.state.requests)
        _pull(tmp_path, mirror)
        assert len(mirror.state.requests) == before, "installed files were asked for again"
        _pull(tmp_path, mirror, force=True)
        assert len(mirror.state.requests) == before + 2
    leftovers = {p.name for p in main.parent.iterdir()} - {"main.gguf", "mmproj.gguf", ".lock"}
    assert not leftovers


RECOVERED = {
    "cut at the start": Faults(cut_after=0, cut_times=3),
    "cut often": Faults(cut_after=100_000, cut_times=20),
    "cut in the middle": Faults(cut_after=333_333),
    "announces too much": Faults(lie_about_length=5000),
    "announces too little": Faults(lie_about_length=-5000),
    "one corrupt byte": Faults(corrupt_at=123_456),
    "no ranges, cut": Faults(ignore_range=True, cut_after=200_000, cut_times=2),
    "changes while we resume": Faults(change_tag=True, cut_after=400_000),
    "unavailable": Faults(status=503, status_times=3),
    "asks to slow down": Faults(status=429, status_times=2, retry_after="1"),
}


@pytest.mark.parametrize("size", [len(MAIN), None], ids=["size known", "size unknown"])
@pytest.mark.parametrize("fault", RECOVERED)
def test_faults_that_pass_are_survived(
    tmp_path: Path, hub: Path, fault: str, size: int | None
) -> None:
    with serve_models(hub, replace(RECOVERED[fault])) as mirror:
        try:
            _pull(tmp_path, mirror, _pin(size))
        except DownloadError as error:
            # Without a pinned size a short body cannot be told from a whole one, but the
            # digest can: twice wrong is an error, never a wrong file in place.
            assert size is None
            assert error.code == "download-corrupt"
            assert not _installed(tmp_path)
        else:
            assert _installed(tmp_path)


FINAL = {
    "download-corrupt": Faults(corrupt_at=5, corrupt_times=99),
    "download-missing": Faults(status=404, status_times=99),
    "download-refused": Faults(status=403, status_times=99),
    "download-server-error": Faults(status=500, status_times=99),
    "download-throttled": Faults(status=429, status_times=99),
    "download-interrupted": Faults(cut_after=0, cut_times=99),
    "download-wrong-size": Faults(extra_bytes=64),
}


@pytest.mark.parametrize("code", FINAL)
def test_faults_that_stay_are_named(tmp_path: Path, hub: Path, code: str) -> None:
    with (
        serve_models(hub, replace(FINAL[code])) as mirror,
        pytest.raises(DownloadError) as refused,
    ):
        _pull(tmp_path, mirror)
    named = {code, "download-network"} if code == "download-interrupted" else {code}
    assert refused.value.code in named
    assert refused.value.hint
    assert "http" not in refused.value.message.lower().replace("(http ", "")
    assert not _installed(tmp_path)


def test_a_dead_server_is_a_network_error(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # Nobody listens there, and nobody else gets it.
        collaborators = _collaborators(tmp_path, f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(DownloadError) as refused:
            pull_model(_pin(), collaborators, Cancellation(), lambda *_: None)
    assert refused.value.code == "download-network"
    assert refused.value.retryable


@pytest.mark.parametrize("have", [0, 1, 65_536, 400_000, len(MAIN) - 1, len(MAIN)])
def test_a_part_is_resumed_where_it_ended(tmp_path: Path, hub: Path, have: int) -> None:
    folder = tmp_path / "models/minicpm-v-4.6"
    folder.mkdir(parents=True)
    (folder / "main.gguf.part").write_bytes(MAIN[:have])
    with serve_models(hub) as mirror:
        _pull(tmp_path, mirror)
        ranges = [asked for path, asked in mirror.state.requests if path.endswith("main.gguf")]
    assert _installed(tmp_path)
    assert ranges == ([] if have == len(MAIN) else [f"bytes={have}-" if have else ""])


def test_a_part_of_other_bytes_is_thrown_away(tmp_path: Path, hub: Path) -> None:
    folder = tmp_path / "models/minicpm-v-4.6"
    folder.mkdir(parents=True)
    (folder / "main.gguf.part").write_bytes(b"\xff" * 300_000)
    with serve_models(hub) as mirror:
        _pull(tmp_path, mirror)
    assert _installed(tmp_path)


def test_the_switch_keeps_what_arrived(tmp_path: Path, hub: Path) -> None:
    switch = Cancellation()

    def throw(_file: ModelFile, _phase: str, done: int, _total: int) -> None:
        if done > 200_000:
            switch.cancel("interrupted")

    with serve_models(hub, Faults(delay=0.005)) as mirror:
        with pytest.raises(StoppedError):
            _pull(tmp_path, mirror, cancellation=switch, listener=throw)
        part = tmp_path / "models/minicpm-v-4.6/main.gguf.part"
        kept = part.stat().st_size
        assert kept > 200_000
        mirror.state.requests.clear()
        _pull(tmp_path, mirror)
        assert mirror.state.requests[0][1] == f"bytes={kept}-"
    assert _installed(tmp_path)


_CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import test_pull_model as here
mirror = type("M", (), {"url": sys.argv[1]})
here._pull(Path(sys.argv[2]), mirror)
print("installed", flush=True)
"""


def _child(tmp_path: Path, mirror: Mirror) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, mirror.url, str(tmp_path), str(Path(__file__).parent)],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_killed_download_resumes(tmp_path: Path, hub: Path) -> None:
    part = tmp_path / "models/minicpm-v-4.6/main.gguf.part"
    with serve_models(hub, Faults(delay=0.3)) as mirror:
        with _child(tmp_path, mirror) as child:
            while not (part.exists() and part.stat().st_size > 100_000):
                assert child.poll() is None
                time.sleep(0.02)
            os.kill(child.pid, signal.SIGKILL)
        assert not _installed(tmp_path)
        kept = part.stat().st_size
        mirror.state.faults.delay = 0.0
        mirror.state.requests.clear()
        _pull(tmp_path, mirror)
        assert mirror.state.requests[0][1] == f"bytes={kept}-"
    assert _installed(tmp_path)


def test_two_processes_download_once(tmp_path: Path, hub: Path) -> None:
    with serve_models(hub, Faults(delay=0.03)) as mirror:
        with _child(tmp_path, mirror) as first, _child(tmp_path, mirror) as second:
            for child in (first, second):
                assert child.communicate(timeout=60)[0] == "installed\n"
                assert child.returncode == 0
        assert len(mirror.state.requests) == 2
    assert _installed(tmp_path)


def test_waiting_for_the_lock_is_told_and_can_be_cancelled(tmp_path: Path) -> None:
    store, switch, told = FolderModelStore(tmp_path), Cancellation(), []
    with store.lock(_pin(), Cancellation(), lambda: pytest.fail("nobody was there")):

        def hear() -> None:
            told.append(1)
            threading.Timer(0.3, switch.cancel, ["interrupted"]).start()

        waiting = FolderModelStore(tmp_path).lock(_pin(), switch, hear)
        with pytest.raises(StoppedError), waiting:
            pytest.fail("the lock was given twice")
    assert told == [1]


def test_what_was_hashed_at_install_is_not_hashed_again(
    tmp_path: Path, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_models(hub) as mirror:
        main, _ = _pull(tmp_path, mirror)
    monkeypatch.setattr(
        "shimmy_vision.adapters.files.hashed_model_files.hash_file",
        lambda *_: pytest.fail("the file was hashed again"),
    )
    files = HashedModelFiles(tmp_path / "digests.json")
    digest = files.sha256(main, rehash=False, progress=lambda *_: None, cancellation=Cancellation())
    assert digest == hashlib.sha256(MAIN).hexdigest()


def test_a_full_disk_is_noticed_before_and_during(
    tmp_path: Path, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_models(hub) as mirror:
        collaborators = _collaborators(tmp_path, mirror.url)
        monkeypatch.setattr(FolderModelStore, "free_bytes", lambda _self: 1_000_000)
        with pytest.raises(DownloadError, match="are free") as refused:
            pull_model(_pin(), collaborators, Cancellation(), lambda *_: None)
        assert refused.value.code == "disk-full"
        assert mirror.state.requests == []


def test_a_write_that_fails_keeps_the_part(
    tmp_path: Path, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = FolderPart.append

    def full_after_200_kb(part: FolderPart, data: bytes) -> None:
        if part.state.size > 200_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(part, data)

    with serve_models(hub) as mirror:
        monkeypatch.setattr(FolderPart, "append", full_after_200_kb)
        with pytest.raises(DownloadError) as refused:
            _pull(tmp_path, mirror)
        assert refused.value.code == "disk-full"
        assert "resumes" in refused.value.hint
        kept = (tmp_path / "models/minicpm-v-4.6/main.gguf.part").stat().st_size
        assert kept > 200_000
        monkeypatch.setattr(FolderPart, "append", write)
        mirror.state.requests.clear()
        _pull(tmp_path, mirror)
        assert mirror.state.requests[0][1] == f"bytes={kept}-"
    assert _installed(tmp_path)


def test_offline_tells_where_to_put_the_files(tmp_path: Path, hub: Path) -> None:
    with serve_models(hub) as mirror:
        collaborators = _collaborators(tmp_path, mirror.url, offline=True)
        with pytest.raises(DownloadError) as refused:
            pull_model(_pin(), collaborators, Cancellation(), lambda *_: None)
        assert refused.value.code == "offline"
        assert "shimmy models path 4.6" in refused.value.hint
        assert mirror.state.requests == []


def test_seeded_files_are_recognised_without_a_network(tmp_path: Path) -> None:
    folder = tmp_path / "models/minicpm-v-4.6"
    folder.mkdir(parents=True)
    (folder / "main.gguf").write_bytes(MAIN)
    (folder / "mmproj.gguf").write_bytes(PROJECTOR)
    collaborators = _collaborators(tmp_path, "http://127.0.0.1:9", offline=True)
    pull_model(_pin(), collaborators, Cancellation(), lambda *_: None)
    assert _installed(tmp_path)


def test_a_redirect_to_plain_http_is_refused(tmp_path: Path, hub: Path) -> None:
    with (
        serve_models(hub, Faults(redirect_to="http://mirror.invalid")) as mirror,
        pytest.raises(DownloadError) as refused,
    ):
        _pull(tmp_path, mirror)
    assert refused.value.code == "download-insecure"


def test_a_redirect_on_loopback_is_followed(tmp_path: Path, hub: Path) -> None:
    with serve_models(hub) as target, serve_models(hub, Faults(redirect_to=target.url)) as mirror:
        _pull(tmp_path, mirror)
    assert _installed(tmp_path)


def test_a_bad_address_is_named(tmp_path: Path) -> None:
    for address in ("nonsense", "ftp://x", "http://[::"):
        with pytest.raises(DownloadError) as refused:
            pull_model(_pin(), _collaborators(tmp_path, address), Cancellation(), lambda *_: None)
        assert refused.value.code in ("download-bad-address", "download-insecure")
