"""Builds ``shimmy`` as one executable, with its bill of materials: ``make dist``.

In an environment of its own, made of ``requirements/dist.lock`` and the wheel of vision,
PyInstaller finds what is needed; ``single_file.spec`` divides it, and what comes out is joined
here: loader, parts, PyInstaller's archive. With a payload (``make payload``) the native library is
the packed one, else llama-cpp-python's of this checkout, and the file says so. A release (with
``SHIMMY_LICENSOR``) is not built with anything but a signed payload.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Mapping
from pathlib import Path

import bootstrap
from bootstrap import ROOT, pip, python_of, say, stop

WORK = ROOT / "build/single-file"
# Reproducible: no time of this build, no order of this process's hashes.
EPOCH = "1767225600"


def main() -> int:
    """Wheel, environment, PyInstaller, joining; then what is in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--payload", type=Path, default=ROOT / "build/payload")
    parser.add_argument("--out", type=Path, default=ROOT / "build/dist")
    parser.add_argument("--work", type=Path, default=WORK)
    arguments = parser.parse_args()
    started = time.monotonic()
    work, out = arguments.work.resolve(), arguments.out.resolve()
    payload = arguments.payload if (arguments.payload / "manifest.json").is_file() else None
    refuse_unsealed_release(payload, os.environ)
    work.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    if payload is None:
        say("no payload is built (make payload): a development build with this checkout's library")
    environment = prepare_environment(work)
    wheel = build_wheel(work, payload)
    pip(environment, "install", "--no-deps", "--force-reinstall", str(wheel))
    run_pyinstaller(environment, work, None if payload else installed_library())
    name = "shimmy.exe" if os.name == "nt" else "shimmy"
    target = join(work, out / name)
    shutil.copy(wheel, out / wheel.name)
    write_bill(environment, work, out, payload)
    tell(target, out, payload, round(time.monotonic() - started))
    return 0


def refuse_unsealed_release(payload: Path | None, environment: Mapping[str, str]) -> None:
    """A file that customers get carries a library that somebody answers for, or is not made."""
    if not environment.get("SHIMMY_LICENSOR"):
        return
    if payload is None:
        stop(
            "A release needs the packed native library, and none is built.",
            "scripts/build_payload.py --key KEY.pem --version N",
        )
    signed = (payload / "manifest.sig").is_file() and (payload / "public-key.txt").is_file()
    mode = json.loads((payload / "manifest.json").read_text(encoding="utf-8")).get("mode")
    if mode != "release" or not signed:
        stop(
            "A release takes no native library that nobody signed.",
            "scripts/build_payload.py --key KEY.pem --version N",
        )


def prepare_environment(work: Path) -> Path:
    """What is shipped and PyInstaller, nothing else: what is not there cannot slip in."""
    place, lock = work / "venv", bootstrap.REQUIREMENTS / "dist.lock"
    stamp = place / "stamp"
    wanted = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return place
    say("installing what the single file is made of")
    venv.create(place, with_pip=True, clear=True)
    pip(place, "install", "--require-hashes", "--only-binary", ":all:", "-r", str(lock))
    stamp.write_text(wanted)
    return place


def build_wheel(work: Path, payload: Path | None) -> Path:
    """Vision's wheel, by the Python of .venv, which has hatchling."""
    folder = work / "wheel"
    shutil.rmtree(folder, ignore_errors=True)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH}
    environment.pop("SHIMMY_PAYLOAD", None)
    if payload is not None:
        environment["SHIMMY_PAYLOAD"] = str(payload.resolve())
    command = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    run(command, environment, ROOT / "packages/vision")
    return next(folder.glob("*.whl"))


def installed_library() -> Path:
    """llama-cpp-python's libraries, which this checkout works with."""
    import importlib.util

    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or not spec.submodule_search_locations:
        stop("There is neither a payload nor llama-cpp-python.", "Run: make payload")
    return Path(spec.submodule_search_locations[0], "lib")


def run_pyinstaller(environment: Path, work: Path, native: Path | None) -> None:
    """``single_file.spec``; its outcome lies in ``work``."""
    for name in ("found", "made"):
        shutil.rmtree(work / name, ignore_errors=True)
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        "PYTHONHASHSEED": "0",
        "SOURCE_DATE_EPOCH": EPOCH,
        "SINGLE_FILE_WORK": str(work),
        "PYINSTALLER_CONFIG_DIR": str(work / "pyinstaller"),
    }
    if native is not None:
        variables["SINGLE_FILE_NATIVE"] = str(native)
    spec = ROOT / "scripts/single_file.spec"
    command = (
        *(str(python_of(environment)), "-m", "PyInstaller", "--noconfirm", "--log-level", "ERROR"),
        *("--distpath", str(work / "made"), "--workpath", str(work / "found"), str(spec)),
    )
    say("collecting (PyInstaller), a minute or two")
    run(command, variables, work)


def run(command: tuple[str, ...], environment: dict[str, str], folder: Path) -> None:
    """Quietly; on failure with what it said."""
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        print(done.stdout[-4000:], done.stderr[-6000:], sep="\n", file=sys.stderr)
        stop(f"{command[2]} failed.", "Its own words stand above.")


def join(work: Path, target: Path) -> Path:
    """PyInstaller's loader finds its archive from the end of the file; the parts lie before it."""
    loader = next(one for one in (work / "made").iterdir() if one.suffix != ".pkg")
    archive = loader.with_suffix(".pkg")
    beside = target.with_name(f".{target.name}")
    with beside.open("wb") as file:
        for piece in (loader, work / "parts.bin", archive):
            with piece.open("rb") as source:
                shutil.copyfileobj(source, file, 1 << 20)
    beside.chmod(0o755)
    if sys.platform == "darwin":
        # A signature covers only what the last segment says that it holds.
        fix = "import sys, PyInstaller.utils.osx as o; o.fix_exe_for_code_signing(sys.argv[1])"
        run((str(python_of(work / "venv")), "-c", fix, str(beside)), dict(os.environ), work)
    beside.replace(target)
    return target


def write_bill(environment: Path, work: Path, out: Path, payload: Path | None) -> None:
    """The bill of materials by the Python of .venv, the licences by ``shimmy-ops``."""
    script = ROOT / "scripts/write_bill.py"
    command = [sys.executable, str(script), str(work), str(environment), str(out)]
    if payload is not None:
        command.append(str(payload))
    run(tuple(command), dict(os.environ), ROOT)


def tell(target: Path, out: Path, payload: Path | None, seconds: int) -> None:
    """Size, digest and kind of the build, for people and as ``dist.json``."""
    kind = "development, llama-cpp-python's library"
    if payload is not None:
        mode = json.loads((payload / "manifest.json").read_text())["mode"]
        kind = f"{mode} payload"
    said_about = ("SHA256SUMS", "dist.json", "dist-test.json", "twice.txt")
    files = [one for one in sorted(out.iterdir()) if one.name not in said_about]
    digests = {one.name: _sha256(one) for one in files if one.is_file()}
    lines = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
    (out / "SHA256SUMS").write_text(lines, encoding="utf-8")
    said = {
        "bytes": target.stat().st_size,
        "sha256": digests[target.name],
        "library": kind,
        "platform": f"{sys.platform}-{platform.machine()}",
        "build_seconds": seconds,
    }
    (out / "dist.json").write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    say(f"{target}: {said['bytes']:,} B, {kind}, built in {seconds} s")
    say(f"sha256 {said['sha256']}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nbuild_single_file: stopped; run it again to go on", file=sys.stderr)
        sys.exit(130)
