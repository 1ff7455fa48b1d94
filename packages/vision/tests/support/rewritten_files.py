"""Files whose bytes change while their sizes stay."""

from __future__ import annotations

import os
from pathlib import Path


def rewrite_file(path: Path, data: bytes) -> None:
    """At another time than before, also where a tick of the file system's clock is a long one."""
    before = path.stat().st_mtime_ns
    path.write_bytes(data)
    os.utime(path, ns=(before + 10**9, before + 10**9))
