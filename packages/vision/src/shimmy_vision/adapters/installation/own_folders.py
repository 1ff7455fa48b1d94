"""The folders that this program writes into: whether it can, and how to take them away again.

What is removed is named: a state folder may be any folder, also one with other people's files.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from shimmy_vision.domain.diagnosis import Finding
from shimmy_vision.ports.own_traces import LeftTrace, RemovedTrace, Trace

# The licence's record, what SQLite and locks put beside it, and records that were set aside.
_STATE = (
    *("licence.sqlite", "licence.sqlite?*", "licence.lock", "licence.opening"),
    *("probed.json", "digests.json", "library-seen.json"),
)
_CACHE = ("native", "encoders", "single-file")
_MODELS = ("minicpm-v-?*",)


def check_folder(subject: str, folder: Path) -> Finding:
    """Whether a file can be made in ``folder``; one that is not there yet is not made for that."""
    place = next((one for one in (folder, *folder.parents) if one.exists()), folder)
    try:
        if place != folder:
            if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
                raise PermissionError(errno.EACCES, f"{place} cannot be written")
            return Finding(subject, "ok", f"{folder} (not there yet)")
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".self-check-") as file:
            file.write(b"self-check")
            file.flush()
    except OSError as error:
        said = f"{folder}: {error.strerror or 'cannot be used'}"
        return Finding(subject, "note", said, "Nothing is kept there; name another folder.")
    return Finding(subject, "ok", str(folder))


def find_traces(state: Path, cache: Path, models: Path | None, socket: Path) -> tuple[Trace, ...]:
    """What lies there of ours, links not followed. ``models`` None leaves the models."""
    found = [*_matching(state, _STATE), *_matching(cache, _CACHE)]
    if models is not None:
        found += _matching(models, _MODELS)
    if _is_socket(socket):
        found.append(socket)
    lock = socket.with_name(f"{socket.name}.lock")
    if lock.is_file() and not lock.is_symlink():
        found.append(lock)
    return tuple(Trace(path, _size(path)) for path in found)


def remove_traces(
    traces: tuple[Trace, ...], folders: tuple[Path, ...]
) -> tuple[tuple[RemovedTrace, ...], tuple[LeftTrace, ...]]:
    """Remove each, then those of ``folders`` that are empty; what could not be is told."""
    removed: list[RemovedTrace] = []
    left: list[LeftTrace] = []
    for trace in traces:
        try:
            _remove(trace.path)
            removed.append(RemovedTrace(trace.path, trace.size))
        except FileNotFoundError:
            continue
        except OSError as error:
            left.append(LeftTrace(trace.path, error.strerror or "cannot be removed"))
    left += [kept for folder in folders if (kept := _remove_empty(folder)) is not None]
    return tuple(removed), tuple(left)


def _matching(folder: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        yield from sorted(folder.glob(pattern)) if folder.is_dir() else ()


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except OSError:
        return False


def _size(path: Path) -> int:
    """Bytes of a file, or of all in a folder; what a link leads to does not count."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    inside = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    return sum(one.lstat().st_size for one in inside)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        # Never through a link, on any system that has them.
        shutil.rmtree(path)
    else:
        path.unlink()


def _remove_empty(folder: Path) -> LeftTrace | None:
    """None where it is gone or never was; a link to a folder stays."""
    if folder.is_symlink() or not folder.is_dir():
        return None
    try:
        others = len(list(folder.iterdir()))
        if others:
            return LeftTrace(folder, f"{others} things in it are not ours", foreign=True)
        folder.rmdir()
    except OSError as error:
        return LeftTrace(folder, error.strerror or "cannot be removed")
    return None
