"""Threads that come and go leave no heap each: counted by glibc itself."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

THREADS = 12
# As many threads at once as there are, each with an allocation too large for Python's own pool.
CROWD = f"""
import ctypes, sys, threading
from shimmy_vision.adapters.glibc_heaps import share_heaps
if sys.argv[2] == "shared":
    share_heaps()
wait = threading.Barrier({THREADS})
def work():
    held = bytearray(4000)
    wait.wait()
threads = [threading.Thread(target=work) for _ in range({THREADS})]
for one in threads: one.start()
for one in threads: one.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
assert libc.malloc_info(0, file) == 0
libc.fclose(file)
"""


def heaps(place: Path, how: str) -> int:
    subprocess.run([sys.executable, "-c", CROWD, str(place), how], check=True, timeout=120)
    return place.read_text(encoding="utf-8").count("<heap nr=")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's heaps")
def test_threads_share_two_heaps(tmp_path: Path) -> None:
    assert heaps(tmp_path / "info.xml", "shared") <= 2 < heaps(tmp_path / "own.xml", "own")
