"""How many heaps glibc keeps for the threads of a process that runs for days."""

from __future__ import annotations

import ctypes
import sys

_M_ARENA_MAX = -8
_HEAPS = 2


def share_heaps() -> None:
    """All threads of this process allocate from two heaps; once, before there are any threads.

    glibc gives nearly every thread a heap of its own, up to eight a core, and each stays as large
    as its thread's greatest work was. A server whose pool begins new threads grows with each of
    them for as long as it runs. Elsewhere than on glibc nothing happens.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        libc.mallopt(_M_ARENA_MAX, _HEAPS)
