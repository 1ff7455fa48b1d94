"""Which other processes of this user are this program at work, or have its files open."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath

import psutil

# As the command line names the program: a script, a module, the single file.
_NAMES = frozenset(("shimmy", "shimmy.exe", "shimmy_vision"))
_LEAVING = "uninstall"


def find_users(
    folders: tuple[Path, ...], shares: Callable[[Mapping[str, str]], bool]
) -> tuple[int, ...]:
    """Numbers of processes, this one and those that it descends from aside.

    An idle server has no file open, so whatever is this program by its command line counts, where
    ``shares`` says of its environment that it works in the same folders. Processes that may not be
    looked at are other users', who have folders of their own.
    """
    roots = tuple(f"{one.resolve()}{os.sep}" for one in folders)
    ours = {os.getpid(), *(one.pid for one in psutil.Process().parents())}
    return tuple(
        process.pid
        for process in psutil.process_iter()
        if process.pid not in ours and _uses(process, roots, shares)
    )


def is_this_program(words: list[str]) -> bool:
    """Whether a command line is ``shimmy COMMAND``, however it was started."""
    for place, word in enumerate(words[:5]):
        if PurePath(word).name in _NAMES:
            return words[place + 1 : place + 2] != [_LEAVING]
    return False


def _uses(
    process: psutil.Process, roots: tuple[str, ...], shares: Callable[[Mapping[str, str]], bool]
) -> bool:
    try:
        if is_this_program(process.cmdline()) and shares(process.environ()):
            return True
        return any(file.path.startswith(roots) for file in process.open_files())
    except (psutil.Error, OSError):
        return False
