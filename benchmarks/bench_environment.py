"""The environment of benchmarks' peers: what ``requirements/bench.lock`` pins, in the user's cache.

Never the product's own: a peer is no dependency of ours.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

from make_model import default_folder

LOCK = Path(__file__).resolve().parent.parent / "requirements/bench.lock"


def bench_python() -> Path:
    """The interpreter there, made now where it is missing. Wheels only, hashes required."""
    digest = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:16]
    place = default_folder().parent / f"bench-venv-{digest}"
    python, whole = place / "bin/python", place / "complete"
    if not whole.exists():
        print(f"installing {LOCK.name} into {place}", file=sys.stderr)
        venv.create(place, with_pip=True, clear=True)
        locked = ("--require-hashes", "--only-binary", ":all:", "-q", "-r", str(LOCK))
        subprocess.run([str(python), "-m", "pip", "install", *locked], check=True)
        whole.touch()
    return python


def locked_version(name: str) -> str:
    """The version that the lock pins."""
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    found = next(line for line in lines if line.startswith(f"{name}=="))
    return found.split("==")[1].split()[0]
