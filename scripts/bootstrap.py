"""Makes .venv from nothing: locked packages, the native library, the four distributions.

Standard library only, so that any Python from 3.11 on can run it. The native
library is built once a machine (about four minutes on two cores) and its wheel
kept under the user's cache, keyed by version, platform, CPU and compiler: a
build for one CPU must not travel to another.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
REQUIREMENTS = ROOT / "requirements"
PACKAGES = ("sandbox", "vision", "store", "ops")
CMAKE_ARGS = "-DGGML_NATIVE=ON -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF"
OLDEST_PYTHON = (3, 11)


def main() -> int:
    """Bring .venv up to date; does nothing when it already is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dev", action="store_true", help="with what the tests need")
    lock = "dev" if parser.parse_args().dev else "runtime"
    check_machine()
    # What the tests need includes what the product needs.
    if is_current(lock) or (lock == "runtime" and is_current("dev")):
        return 0
    if not python_of(VENV).exists():
        say("making .venv")
        venv.create(VENV, with_pip=True)
    say(f"installing locked packages ({lock}.lock)")
    pip(VENV, "install", "--require-hashes", "-r", str(REQUIREMENTS / f"{lock}.lock"))
    install_native_library()
    say("installing the four distributions in place")
    places = [word for name in PACKAGES for word in ("-e", str(ROOT / "packages" / name))]
    pip(VENV, "install", "--no-build-isolation", "--no-deps", *places)
    stamp_of(lock).write_text(fingerprint(lock))
    return 0


def stamp_of(lock: str) -> Path:
    """Where it stands what .venv was last brought up to date with."""
    return VENV / f"bootstrap-{lock}.stamp"


def is_current(lock: str) -> bool:
    """Whether .venv already holds everything of ``lock``."""
    stamp = stamp_of(lock)
    return stamp.is_file() and stamp.read_text() == fingerprint(lock)


def check_machine() -> None:
    """Stop early, with a remedy, where the build could only fail later."""
    if sys.version_info < OLDEST_PYTHON:
        stop(
            f"Python {platform.python_version()} is too old: 3.11 or newer is needed.",
            "Install it, then name it: make demo PYTHON=python3.12",
        )
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        stop("This Python cannot make virtual environments.", "Debian: apt install python3-venv")


def fingerprint(lock: str) -> str:
    """What .venv depends on: locks, package metadata, interpreter, place."""
    digest = hashlib.sha256(f"{ROOT}{sys.version}{native_key()}".encode())
    files = [REQUIREMENTS / f"{lock}.lock", REQUIREMENTS / "native.lock"]
    for path in (*files, *(ROOT / "packages" / name / "pyproject.toml" for name in PACKAGES)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def install_native_library() -> None:
    """From the cached wheel, building it first if this machine has none."""
    cache = cache_folder() / "wheels" / native_key()
    wheel = next(iter(sorted(cache.glob("llama_cpp_python-*.whl"))), None)
    if wheel is None:
        wheel = build_native_library(cache)
    pip(VENV, "install", "--no-deps", "--force-reinstall", str(wheel))


def build_native_library(cache: Path) -> Path:
    """Build in a folder of its own; the wheel appears in ``cache`` whole or not at all."""
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl")):
        stop(
            "No C++ compiler was found; the native library is built from source.",
            "Debian: apt install g++    macOS: xcode-select --install",
        )
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.parent) as folder:
        builder = Path(folder, "builder")
        say("building llama.cpp and libmtmd, once on this machine: about 4 minutes on two cores")
        venv.create(builder, with_pip=True)
        pip(builder, "install", "--require-hashes", "-r", str(REQUIREMENTS / "build.lock"))
        environment = {
            **os.environ,
            "CMAKE_ARGS": CMAKE_ARGS,
            "PATH": f"{python_of(builder).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        with Heartbeat():
            pip(
                builder,
                *("wheel", "--no-build-isolation", "--no-deps", "--require-hashes"),
                *("--no-binary", "llama-cpp-python", "--no-cache-dir"),
                *("-r", str(REQUIREMENTS / "native.lock"), "-w", str(Path(folder, "wheel"))),
                environment=environment,
            )
        cache.mkdir(exist_ok=True)
        built = next(Path(folder, "wheel").glob("*.whl"))
        target = cache / built.name
        built.replace(target)
        return target


class Heartbeat:
    """A line every thirty seconds, so that a long build does not look dead."""

    def __enter__(self) -> None:
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _beat(self) -> None:
        started = time.monotonic()
        while not self._done.wait(30):
            say(f"still building, {time.monotonic() - started:.0f} s so far")


def native_key() -> str:
    """Names the build: sources, CMake options, platform, CPU features, compiler."""
    parts = [
        (REQUIREMENTS / "native.lock").read_text(),
        CMAKE_ARGS,
        sysconfig.get_platform(),
        cpu_features(),
        compiler_version(),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def cpu_features() -> str:
    """The CPU's feature flags, which a native build may use without asking."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def compiler_version() -> str:
    """First line of what the C++ compiler says of itself; empty without one."""
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        return ""
    said = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    return said.stdout.partition("\n")[0]


def cache_folder() -> Path:
    """``SHIMMY_CACHE``, or the user's cache folder."""
    chosen = os.environ.get("SHIMMY_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "shimmy-vision"


def pip(where: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
    """Run pip quietly; on failure show what it said and stop."""
    command = [str(python_of(where)), "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode == 0:
        return
    print(done.stdout[-4000:], done.stderr[-8000:], sep="\n", file=sys.stderr)
    if "HASHES" in done.stderr or "hash" in done.stderr.lower():
        stop("A package's content differs from the lock.", "Do not install it; report this.")
    stop(
        f"pip {arguments[0]} failed.",
        "Read the lines above; without network, packages cannot be fetched.",
    )


def python_of(where: Path) -> Path:
    """The interpreter of a virtual environment."""
    return where / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def say(text: str) -> None:
    """One line of progress."""
    print(f"bootstrap: {text}", flush=True)


def stop(problem: str, remedy: str) -> None:
    """End with what is wrong and what to do."""
    print(f"bootstrap: {problem}\n  → {remedy}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
