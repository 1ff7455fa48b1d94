"""Loads payloads, each in a fork of this process, and says what became of it.

A line of JSON in, one out. ``tamper`` changes a file right before a library is linked; ``breaking``
kills this process, or fills the disk, at a certain system call on the unpacked folder.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shimmy_vision.adapters.payload.payload_vault import load_packed
from shimmy_vision.errors import LibraryError
from shimmy_vision.ports.library_places import PayloadPlaces

_COUNTED = ("mkdir", "open", "write", "fsync", "fchmod", "rename")


def tamper_with(path: Path, how: str, hostile: Path) -> None:
    """Change one file in one of the ways somebody could."""
    _WAYS[how](path, hostile)


def _flip(path: Path, _hostile: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.chmod(0o700)
    path.write_bytes(data)


def _grow(path: Path, _hostile: Path) -> None:
    path.chmod(0o700)
    with path.open("ab") as file:
        file.write(b"\0" * 4096)


def _truncate(path: Path, _hostile: Path) -> None:
    path.chmod(0o700)
    os.truncate(path, path.stat().st_size // 2)


def _replace(path: Path, hostile: Path) -> None:
    other = path.with_name(".other")
    shutil.copy(hostile, other)
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


def _break(breaking: dict[str, Any], root: str) -> Callable[[], int]:
    """From now on counts calls; at number ``at`` dies or has no space. The count so far."""
    count = 0

    def wrapped(real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            if _concerns(args, kwargs, root):
                count += 1
                if count == breaking.get("at") and breaking["how"] == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                if name == "write" and breaking["how"] == "full":
                    raise OSError(errno.ENOSPC, "No space left on device")
            return real(*args, **kwargs)

        return call

    tempfile.tempdir = breaking.get("temporary")
    for name in _COUNTED:
        setattr(os, name, wrapped(getattr(os, name), name))
    return lambda: count


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
            tamper_with(Path(asked["path"]), asked["how"], Path(hostile))
        return ctypes.CDLL(path)

    calls = (
        _break(trial["breaking"], os.path.realpath(trial["unpacked"])) if trial["breaking"] else int
    )
    places = PayloadPlaces(
        Path(trial["unpacked"]), Path(trial["record"]), trial["allow_older"], trial["public_key"]
    )
    try:
        loaded = load_packed(
            Path(trial["folder"]), places, lambda *_: None, linker, sealing=trial["sealing"]
        )
    except LibraryError as error:
        return {"code": error.code, "message": error.message, "hint": error.hint, "calls": calls()}
    told: dict[str, Any] = {"calls": calls(), "seal": loaded.packed.seal}
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
