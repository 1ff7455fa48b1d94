"""Ends every process that was started for one folder, however it was started."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil

_PAUSE_SECONDS = 0.02
_MOST_ROUNDS = 100


def end_processes(folder: str, leader: int | None = None) -> None:
    """Kill the group of ``leader``, and of whoever stands in ``folder`` or names it.

    A browser puts itself into a group of its own, so killing who started it is not enough; one
    that is just being started shows a moment later, so two quiet looks must follow.
    """
    if leader is not None:
        kill_group(leader)
    quiet = 0
    for _ in range(_MOST_ROUNDS):
        found = list(_belonging(folder))
        for process in found:
            kill_group(process.pid)
            with suppress(psutil.Error):
                process.kill()
        quiet = 0 if found else quiet + 1
        if quiet == 2 or (quiet and leader is None):
            return
        time.sleep(_PAUSE_SECONDS)


def kill_group(leader: int) -> None:
    """Only a group that ``leader`` leads, and never this process's own."""
    if not hasattr(os, "killpg"):
        return
    with suppress(ProcessLookupError, PermissionError):
        if os.getpgid(leader) == leader != os.getpgrp():
            os.killpg(leader, signal.SIGKILL)


def _belonging(folder: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            ended = process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE
            if not ended and (_stands_in(process, folder) or _names(process, folder)):
                yield process


def _names(process: psutil.Process, folder: str) -> bool:
    return any(folder in word for word in process.cmdline())


def _stands_in(process: psutil.Process, folder: str) -> bool:
    with suppress(psutil.AccessDenied):
        return process.cwd() == folder
    return False
