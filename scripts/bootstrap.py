"""Makes .venv from nothing: locked packages, the native library, the four distributions.

Standard library only, so that any Python from 3.11 on can run it. The native
library is built once a machine (about four minutes on two cores) and its wheel
kept under the user's cache, keyed by version, platform, CPU and compiler: a
build for one CPU must not travel to another.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
REQUIREMENTS = ROOT / "requirements"
PACKAGES = ("sandbox", "vision", "store", "ops")
CMAKE_ARGS = "-DGGML_NATIVE=ON -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF"
COMPILER_SETTINGS = ("CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS")
OLDEST_PYTHON = (3, 11)


def main() -> int:
    """Bring .venv up to date; does nothing when it already is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dev", action="store_true", help="with what the tests need")
    lock = "dev" if parser.parse_args().dev else "runtime"
    check_machine()
    if is_satisfied(lock):
        return 0
    with alone():
        if not is_satisfied(lock):
            bring_up_to_date(lock)
    return 0


def bring_up_to_date(lock: str) -> None:
    """Install everything of ``lock``; the stamp is written last."""
    wheel = native_wheel()
    make_environment()
    say(f"installing locked packages ({lock}.lock)")
    # Wheels only: a source archive would run its own code on this machine to install itself.
    locked = ("--require-hashes", "--only-binary", ":all:")
    pip(VENV, "install", *locked, "-r", str(REQUIREMENTS / f"{lock}.lock"))
    pip(VENV, "install", "--no-deps", "--force-reinstall", str(wheel))
    say("installing the four distributions in place")
    places = [word for name in PACKAGES for word in ("-e", str(ROOT / "packages" / name))]
    pip(VENV, "install", "--no-build-isolation", "--no-deps", *places)
    stamp_of(lock).write_text(fingerprint(lock))


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One bootstrap at a time: two would build twice on the same cores, or share a .venv."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    path = cache_folder() / "bootstrap.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("w")
    except OSError as error:
        stop(f"The cache folder cannot be used: {error}", "Name another one: export SHIMMY_CACHE=…")
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another bootstrap is at work on this machine; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def make_environment() -> None:
    """A complete .venv of this interpreter at this place, made anew where it is anything else.

    A virtual environment names its interpreter and its own place in every script, and one whose
    making was interrupted has no pip: none of these can be mended by installing into it.
    """
    complete, wanted = VENV / "bootstrap-venv.stamp", f"{VENV}\n{sys.version}\n{sys.base_prefix}"
    if python_of(VENV).exists() and complete.is_file() and complete.read_text() == wanted:
        return
    if VENV.is_symlink():
        stop(f"{VENV} is a link; what it points to is not ours to replace.", "Remove the link.")
    say("making .venv anew" if VENV.exists() else "making .venv")
    venv.create(VENV, with_pip=True, clear=True)
    complete.write_text(wanted)


def is_satisfied(lock: str) -> bool:
    """Whether nothing is left to do. What the tests need includes what the product needs."""
    return is_current(lock) or (lock == "runtime" and is_current("dev"))


def stamp_of(lock: str) -> Path:
    """Where it stands what .venv was last brought up to date with."""
    return VENV / f"bootstrap-{lock}.stamp"


def is_current(lock: str) -> bool:
    """Whether .venv already holds everything of ``lock``."""
    stamp = stamp_of(lock)
    if not (stamp.is_file() and python_of(VENV).exists()):
        return False
    return stamp.read_text() == fingerprint(lock)


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


def native_wheel() -> Path:
    """The cached wheel, built first if this machine has none."""
    cache = cache_folder() / "wheels" / native_key()
    wheel = next(iter(sorted(cache.glob("llama_cpp_python-*.whl"))), None)
    return wheel or build_native_library(cache)


def build_native_library(cache: Path) -> Path:
    """Build in a folder of its own; the wheel appears in ``cache`` whole or not at all."""
    if not compiler():
        stop(
            "No C++ compiler was found; the native library is built from source.",
            "Debian: apt install g++    macOS: xcode-select --install",
        )
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.parent) as folder:
        builder = Path(folder, "builder")
        say("fetching the sources of llama.cpp and libmtmd (77 MB)")
        venv.create(builder, with_pip=True)
        pip(builder, "install", "--require-hashes", "-r", str(REQUIREMENTS / "build.lock"))
        environment = {
            **os.environ,
            "CMAKE_ARGS": CMAKE_ARGS,
            "PATH": f"{python_of(builder).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        # Two steps, so that a failed download and a failed compilation are told apart.
        as_is = ("--no-build-isolation", "--no-deps")
        sources = ("--require-hashes", "--no-binary", "llama-cpp-python", "--no-cache-dir")
        lock = ("-r", str(REQUIREMENTS / "native.lock"))
        pip(builder, "download", *as_is, *sources, *lock, "-d", folder, environment=environment)
        archive = str(next(Path(folder).glob("*.tar.gz")))
        say("building them, once on this machine: about 4 minutes on two cores")
        with Heartbeat():
            pip(builder, "wheel", *as_is, archive, "-w", folder, environment=environment)
        cache.mkdir(exist_ok=True)
        built = next(Path(folder).glob("*.whl"))
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
        *(f"{name}={os.environ[name]}" for name in COMPILER_SETTINGS if os.environ.get(name)),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def cpu_features() -> str:
    """The CPU's feature flags, which a native build may use without asking."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def compiler() -> list[str]:
    """The C++ compiler's command: ``CXX`` if set, or the first one found; empty without one."""
    chosen = shlex.split(os.environ.get("CXX", ""))
    if chosen:
        return chosen if shutil.which(chosen[0]) else []
    found = (shutil.which(name) for name in ("c++", "g++", "clang++", "cl"))
    return [path for path in found if path][:1]


def compiler_version() -> str:
    """First line of what the C++ compiler says of itself; empty without one."""
    command = compiler()
    if not command:
        return ""
    said = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
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
    # pip has one exit status for everything; this is the heading it gives to a wrong digest.
    if "DO NOT MATCH THE HASHES" in done.stderr:
        stop("A package's content differs from the lock.", "Do not install it; report this.")
    if arguments[0] == "wheel":
        stop(
            "The native library could not be built.",
            "The compiler's own words stand above; it needs C++17 and free disk.",
        )
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


def stop(problem: str, remedy: str) -> NoReturn:
    """End with what is wrong and what to do."""
    print(f"bootstrap: {problem}\n  → {remedy}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nbootstrap: stopped; run it again to go on", file=sys.stderr)
        sys.exit(130)
