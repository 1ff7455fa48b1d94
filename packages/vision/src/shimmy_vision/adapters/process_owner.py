"""Which process holds something, so that another one can tell that it died."""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path

import psutil


@lru_cache(maxsize=1)
def this_owner() -> str:
    """Where this process's number means something, the number, and when it began."""
    process = psutil.Process()
    return f"{_world()}/{process.pid}/{_began(process)}"


def is_dead(owner: str) -> bool:
    """Whether the owner certainly is no more; False also where that cannot be known from here."""
    world, number, began = owner.split("/")
    if world != _world():
        return False
    try:
        return _began(psutil.Process(int(number))) != began
    except psutil.Error:
        return True


@lru_cache(maxsize=1)
def _world() -> str:
    """Process numbers repeat after a restart and in other containers over the same folder."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}-{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return f"{platform.node().replace('/', '-')}-{int(psutil.boot_time())}"


def _began(process: psutil.Process) -> str:
    # Whole hundredths: some systems compute this from a boot time that jitters below that.
    return f"{process.create_time():.2f}"
