"""Which process holds something, so that another one can tell that it died."""

from __future__ import annotations

import os
import platform
from functools import lru_cache
from pathlib import Path

import psutil


def this_owner() -> str:
    """Where this process's number means something, the number, and when it began."""
    return _owner(os.getpid())


def is_dead(owner: str) -> bool:
    """Whether the owner certainly is no more; False also where that cannot be known from here."""
    world, number, began = owner.split("/")
    if world != _world():
        return False
    try:
        process = psutil.Process(int(number))
        # A zombie has ended: only its parent has not asked how.
        return _began(process) != began or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


@lru_cache(maxsize=1)
def _owner(number: int) -> str:
    # By number: what a parent process remembered is not true of its fork.
    return f"{_world()}/{number}/{_began(psutil.Process(number))}"


@lru_cache(maxsize=1)
def _world() -> str:
    """Process numbers repeat after a restart and in other containers over the same folder."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}-{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return f"{platform.node().replace('/', '-')}-{int(psutil.boot_time())}"


def _began(process: psutil.Process) -> str:
    try:
        # Ticks since the system started: a clock that is set does not move them.
        fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace")
        return fields.rpartition(")")[2].split()[19]
    except OSError:
        # Whole hundredths: some systems compute this from a boot time that jitters below that.
        return f"{process.create_time():.2f}"
