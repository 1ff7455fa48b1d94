"""Loads payloads, each in a fork of this process, and says what became of it.

A line of JSON in, one out. ``tamper`` changes a file right before a library is linked; ``breaking``
kills this process, or fills the disk, at a certain system call on the unpacked folder.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import logging
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from shimmy_vision.adapters.payload.payload_vault import load_packed
from shimmy_vision.errors import LibraryError
from shimmy_vision.ports.library_places import PayloadPlaces

_COUNTED = ("mkdir", "open", "write", "fsync", "fchmod", "rename")


def tamper_with(path: Path, how: str, hostile: Path) -> None:
    """Change one file in one of the ways somebody could."""
    _WAYS[how](path, hostile)


@contextlib.contextmanager
def _as_before(path: Path) -> Iterator[None]:
    """The rights that a file had are given back to it."""
    mode = path.stat().st_mode & 0o777
    path.chmod(0o700)
    yield
    path.chmod(mode)


def _flip(path: Path, _hostile: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    with _as_before(path):
        path.write_bytes(data)


def _grow(path: Path, _hostile: Path) -> None:
    with _as_before(path), path.open("ab") as file:
        file.write(b"\0" * 4096)


def _truncate(path: Path, _hostile: Path) -> None:
    with _as_before(path):
        os.truncate(path, path.stat().st_size // 2)


def _replace(path: Path, hostile: Path) -> None:
    # Of the same length and with the same rights: only its bytes tell.
    other, size = path.with_name(".other"), path.stat().st_size
    other.write_bytes(hostile.read_bytes().ljust(size, b"\0"))
    other.chmod(path.stat().st_mode & 0o777)
    other.replace(path)


def _symlink(path: Path, hostile: Path) -> None:
    path.unlink()
    path.symlink_to(hostile)


def _fifo(path: Path, _hostile: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path, _hostile: Path) -> None:
    path.unlink()
    path.mkdir()


_WAYS: dict[str, Callable[[Path, Path], object]] = {
    "flip": _flip,
    "truncate": _truncate,
    "grow": _grow,
    "replace": _replace,
    "symlink": _symlink,
    "hardlink": lambda path, _hostile: os.link(path, path.with_name(f"{path.name}.second")),
    "chmod": lambda path, _hostile: path.chmod(0o777),
    "lock-out": lambda path, _hostile: path.chmod(0),
    "remove": lambda path, _hostile: path.unlink(),
    "fifo": _fifo,
    "folder": _folder,
}


class _Count:
    """Calls that touch the unpacked folder, counted; at one of them this process may break."""

    def __init__(self, breaking: dict[str, Any], root: str) -> None:
        self.calls = self.writes = 0
        self._breaking = breaking
        self._root = root
        tempfile.tempdir = breaking.get("temporary")
        for name in _COUNTED:
            setattr(os, name, self._wrapped(getattr(os, name), name))

    def __call__(self) -> int:
        return self.calls

    def _wrapped(self, real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if _concerns(args, kwargs, self._root):
                self._count(name)
            return real(*args, **kwargs)

        return call

    def _count(self, name: str) -> None:
        self.calls += 1
        self.writes += name == "write"
        if self.calls == self._breaking.get("at") and self._breaking["how"] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "write" and self._breaking["how"] == "full":
            raise OSError(errno.ENOSPC, "No space left on device")


def _write_into(path: str) -> str:
    """Try to change what was hashed, under the very name that it is loaded by."""
    for size in (None, 10, 1_000_000):
        try:
            if size is None:
                with Path(path).open("r+b", buffering=0) as file:
                    file.write(b"\x7fELF?")
            else:
                os.truncate(path, size)
        except PermissionError:
            continue
        return "changed"
    return "refused"


def _concerns(args: tuple[Any, ...], kwargs: dict[str, Any], root: str) -> bool:
    """Whether a call touches what lies below ``root``, told by the descriptors it is given."""
    numbers = (*args[:1], kwargs.get("dir_fd"), kwargs.get("src_dir_fd"))
    return any(_path_of(one).startswith(root) for one in numbers if isinstance(one, int))


def _path_of(descriptor: int) -> str:
    try:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink())
    except OSError:
        return ""


def _try(trial: dict[str, Any]) -> dict[str, Any]:
    hostile = trial["tamper"].get("hostile", "")
    heard: list[str] = []

    def linker(path: str) -> ctypes.CDLL:
        asked = trial["tamper"]
        if asked and len(heard) == 0:
            heard.append(path)
            if asked["how"] == "memory":
                heard.append(_write_into(path))
                return ctypes.CDLL(path)
            tamper_with(Path(asked["path"]), asked["how"], Path(hostile))
        return ctypes.CDLL(path)

    calls: Callable[[], int] = int
    if trial["breaking"]:
        calls = _Count(trial["breaking"], os.path.realpath(trial["unpacked"]))
    places = PayloadPlaces(
        Path(trial["unpacked"]), Path(trial["record"]), trial["allow_older"], trial["public_key"]
    )
    logged: list[str] = []
    listening = logging.Handler()
    listening.emit = lambda record: logged.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("shimmy_vision").addHandler(listening)
    try:
        loaded = load_packed(
            Path(trial["folder"]), places, lambda *_: None, linker, sealing=trial["sealing"]
        )
    except LibraryError as error:
        return {"code": error.code, "message": error.message, "hint": error.hint, "calls": calls()}
    told: dict[str, Any] = {
        "calls": calls(),
        "seal": loaded.packed.seal,
        "heard": heard[1:],
        "logged": logged,
    }
    told["wrote"] = calls.writes if isinstance(calls, _Count) else 0
    if not trial["real"]:
        told["answer"] = loaded.libraries["top"].answer()
        told["speed"] = loaded.libraries["ggml"].chosen_speed()
    told["mapped"] = sorted(
        {
            line.split(maxsplit=5)[5]
            for line in Path("/proc/self/maps").read_text().splitlines()
            if "libtiny" in line or "libggml" in line or "libllama" in line
        }
    )
    return told


def _forked(trial: dict[str, Any], gate: int) -> tuple[int, int]:
    """The child's number, and where its answer can be read."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.read(gate, 1)  # Until everybody is here.
        said = _try(trial)
    except BaseException as error:  # noqa: BLE001
        said = {"died": repr(error)}
    os.write(writing, json.dumps(said).encode())
    os._exit(0)


def main() -> None:
    for line in sys.stdin:
        gate, opener = os.pipe()
        children = [_forked(trial, gate) for trial in json.loads(line)]
        os.close(gate)
        os.write(opener, b"." * len(children))
        os.close(opener)
        answers = []
        for child, reading in children:
            with os.fdopen(reading, "rb") as file:
                said = file.read()
            _number, status = os.waitpid(child, 0)
            killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            answers.append(json.loads(said) if said else {"killed": killed})
        print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
