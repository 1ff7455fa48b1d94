"""The environment of benchmarks' peers: what ``requirements/bench.lock`` pins, in the user's cache.

Never the product's own: a peer is no dependency of ours.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

from make_model import default_folder

LOCK = Path(__file__).resolve().parent.parent / "requirements/bench.lock"


def bench_python() -> Path:
    """The interpreter of the peers' environment, made now where it is missing."""
    return locked_python(LOCK, "bench-venv", sys.version)


def locked_python(
    lock: Path, name: str, kind: str, finish: Callable[[Path], None] = lambda _: None
) -> Path:
    """The interpreter of an environment for ``lock`` in the user's cache, one for each ``kind``.

    Made now where it is missing: wheels only, hashes required, then ``finish`` with its folder.
    """
    digest = hashlib.sha256(lock.read_bytes() + kind.encode()).hexdigest()[:16]
    place = default_folder().parent / f"{name}-{digest}"
    python, whole = place / "bin/python", place / "complete"
    if not whole.exists():
        print(f"installing {lock.name} into {place}", file=sys.stderr)
        venv.create(place, with_pip=True, clear=True)
        locked = ("--require-hashes", "--only-binary", ":all:", "-q", "-r", str(lock))
        subprocess.run([str(python), "-m", "pip", "install", *locked], check=True)
        finish(place)
        whole.touch()
    return python


def locked_version(name: str) -> str:
    """The version that the lock pins."""
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    found = next(line for line in lines if line.startswith(f"{name}=="))
    return found.split("==")[1].split()[0]
