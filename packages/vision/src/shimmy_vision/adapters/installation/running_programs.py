"""Which other processes of this user have the program's files open."""

from __future__ import annotations

import os
from pathlib import Path

import psutil


def find_users(folders: tuple[Path, ...]) -> tuple[int, ...]:
    """Numbers of processes, this one and those that it descends from aside.

    Processes that may not be looked at are other users', who have folders of their own.
    """
    roots = tuple(f"{one.resolve()}{os.sep}" for one in folders)
    ours = {os.getpid(), *(one.pid for one in psutil.Process().parents())}
    return tuple(
        process.pid
        for process in psutil.process_iter()
        if process.pid not in ours and _uses(process, roots)
    )


def _uses(process: psutil.Process, roots: tuple[str, ...]) -> bool:
    try:
        return any(file.path.startswith(roots) for file in process.open_files())
    except (psutil.Error, OSError):
        return False
