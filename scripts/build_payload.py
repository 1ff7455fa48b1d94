"""Builds the packed native library, and with ``--wheel`` the platform wheel that carries it.

From the pinned sources of llama-cpp-python: libggml with a CPU backend for each of several
processor generations, libllama and libmtmd, stripped, compressed, listed in a signed manifest.
Compiled once for each set of sources, options and compiler (20 minutes on two busy cores), kept
under the user's cache. Run with the Python of .venv: ``make payload``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

import bootstrap
from bootstrap import ROOT, Heartbeat, pip, python_of, say, stop
from elf_needs import LibraryNeeds, read_needs, wheel_tag
from shimmy_vision.adapters.payload.payload_packing import BuiltLibrary, PayloadFacts, pack
from shimmy_vision.adapters.payload.payload_vault import open_packed, platform_here
from shimmy_vision.domain.model.model_manifest import MANIFEST
from shimmy_vision.domain.payload.manifest import PayloadManifest, Role
from shimmy_vision.domain.payload.model_lock import models_to_list

OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=ON",
    # A backend for each generation of processors, chosen when it is loaded.
    *("-DGGML_NATIVE=OFF", "-DGGML_BACKEND_DL=ON", "-DGGML_CPU_ALL_VARIANTS=ON"),
    "-DGGML_CCACHE=OFF",
    *(
        f"-DLLAMA_BUILD_{part}=OFF"
        for part in ("COMMON", "TESTS", "TOOLS", "EXAMPLES", "SERVER", "APP")
    ),
    # Videos would be read by starting another program.
    *("-DLLAMA_BUILD_MTMD=ON", "-DMTMD_VIDEO=OFF", "-DLLAMA_OPENSSL=OFF"),
    *("-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON", "-DCMAKE_INSTALL_RPATH=$ORIGIN"),
)
# Best first, as ggml itself scores them; AVX2 at least.
X86 = (
    *("sapphirerapids", "zen4", "cooperlake", "icelake", "cascadelake", "skylakex"),
    *("alderlake", "haswell"),
)
ARM = (
    *("armv9.2_2", "armv9.2_1", "armv8.6_2", "armv8.6_1", "armv8.2_3", "armv8.2_2"),
    *("armv8.2_1", "armv8.0_1"),
)
VARIANTS = {"x86_64": X86, "aarch64": ARM}
# Of the system, everywhere: the C library and what a C++ program needs of its compiler.
SYSTEM = frozenset(
    (
        *("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1"),
        *("libstdc++.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"),
    )
)


def main() -> int:
    """Compile what is not compiled yet, pack it, and build the wheel where one is wanted."""
    arguments = _arguments()
    if sys.platform != "linux" or platform.machine() not in VARIANTS:
        stop("Payloads are built on Linux, x86-64 or arm64, so far.", "See docs/limits.md.")
    key = _signing_key(arguments.key)
    built = compiled()
    libraries = gather(built)
    needs = [read_needs(name, path) for name, path in libraries]
    _check_needs(needs)
    manifest = _pack(libraries, needs, arguments, key)
    tag = wheel_tag(needs, platform.machine())
    (arguments.out / "wheel-tag.txt").write_text(tag)
    _tell(manifest, arguments.out, built, tag)
    if arguments.wheel is not None:
        build_wheel(arguments.out, arguments.wheel)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--out", type=Path, default=ROOT / "build/payload", help="where the payload is put")
    add("--key", type=Path, help="Ed25519 private key, PEM; without one: a development payload")
    add("--version", type=int, default=1, help="only ever grows")
    add("--minimum", type=int, default=1, help="the oldest version that may still run")
    add("--wheel", type=Path, metavar="FOLDER", help="build the platform wheel into FOLDER")
    return parser.parse_args()


def _signing_key(path: Path | None) -> Ed25519PrivateKey | None:
    if path is None:
        return None
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        stop("The signing key cannot be read.", "openssl genpkey -algorithm ed25519 -out key.pem")
    return key


def compiled() -> Path:
    """The folder of built libraries in the cache, made first where it is not there."""
    place = bootstrap.cache_folder() / "payload" / _cache_key()
    if (place / "built.json").is_file():
        return place
    if not bootstrap.compiler():
        stop("No C++ compiler was found.", "Debian: apt install g++")
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        sources = _sources(Path(folder))
        seconds = _compile(sources, Path(folder, "out"))
        found = Path(folder, "bin")
        found.mkdir()
        for path in Path(folder, "out", "bin").glob("*.so*"):
            if not path.is_symlink():
                shutil.copy(path, found / path.name)
        (found / "built.json").write_text(json.dumps({"seconds": seconds}))
        found.rename(place)
    return place


def _cache_key() -> str:
    import hashlib

    lock = (bootstrap.REQUIREMENTS / "native.lock").read_text()
    parts = (lock, *OPTIONS, platform_here(), bootstrap.compiler_version())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _sources(folder: Path) -> Path:
    """llama.cpp out of the pinned source archive, whose digest pip checks."""
    builder = folder / "builder"
    say("fetching the sources of llama.cpp and libmtmd (77 MB)")
    venv.create(builder, with_pip=True)
    pip(builder, "install", "--require-hashes", "-r", str(bootstrap.REQUIREMENTS / "build.lock"))
    path = f"{python_of(builder).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    pip(
        builder,
        *("download", "--no-build-isolation", "--no-deps", "--require-hashes"),
        *("--no-binary", "llama-cpp-python", "-d", str(folder)),
        *("-r", str(bootstrap.REQUIREMENTS / "native.lock")),
        environment={**os.environ, "PATH": path},
    )
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return next(folder.glob("llama_cpp_python-*/vendor/llama.cpp"))


def _compile(sources: Path, out: Path) -> float:
    """Seconds it took."""
    tools = python_of(sources.parents[2] / "builder").parent
    environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', '')}"}
    # No path of this machine in the libraries.
    flags = [f"-DCMAKE_{kind}_FLAGS=-ffile-prefix-map={sources}=." for kind in ("C", "CXX")]
    configure = ("cmake", "-G", "Ninja", "-S", str(sources), "-B", str(out), *OPTIONS, *flags)
    targets = [f"ggml-cpu-{name}" for name in VARIANTS[platform.machine()]]
    build = ("cmake", "--build", str(out), "--target", "mtmd", *targets)
    say("compiling, once on this machine: about 20 minutes on two cores")
    started = time.monotonic()
    with Heartbeat():
        for command in (configure, build):
            _run(command, environment)
    return round(time.monotonic() - started)


def _run(command: Sequence[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        print(done.stdout[-4000:], done.stderr[-4000:], sep="\n", file=sys.stderr)
        stop(f"{command[0]} failed.", "Its own words stand above.")


def gather(built: Path) -> list[tuple[tuple[str, Role], Path]]:
    """Stem, role and stripped file of every library, in the order in which they are loaded."""
    stripped = built / "stripped"
    stripped.mkdir(exist_ok=True)
    found: list[tuple[tuple[str, Role], Path]] = []

    def add(stem: str, role: Role, path: Path) -> None:
        target = stripped / path.name
        if not target.exists():
            beside = target.with_name(f".{target.name}")
            _run(("strip", "--strip-unneeded", "-o", str(beside), str(path)), dict(os.environ))
            beside.rename(target)
        found.append(((stem, role), target))

    add("gomp", "runtime", _openmp())
    for stem in ("ggml-base", "ggml"):
        add(stem, "library", _one(built, f"lib{stem}.so"))
    for name in VARIANTS[platform.machine()]:
        add(f"ggml-cpu-{name}", "backend", _one(built, f"libggml-cpu-{name}.so"))
    for stem in ("llama", "mtmd"):
        add(stem, "library", _one(built, f"lib{stem}.so"))
    return found


def _one(built: Path, name: str) -> Path:
    found = sorted(path for path in built.glob(f"{name}*") if path.is_file())
    if not found:
        stop(f"The build made no {name}.", "Remove its folder from the cache and build again.")
    return found[-1]


def _openmp() -> Path:
    """The compiler's OpenMP runtime, which a system without a compiler may lack."""
    command = [*bootstrap.compiler(), "-print-file-name=libgomp.so.1"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return Path(said).resolve()


def _check_needs(needs: Sequence[LibraryNeeds]) -> None:
    """Whatever a library needs is the system's, or is loaded before it."""
    there = set(SYSTEM)
    for one in needs:
        missing = sorted(set(one.needed) - there)
        if missing:
            stop(f"{one.soname} needs {', '.join(missing)}, which nobody brings.", "Pack it.")
        there.add(one.soname)


def _pack(
    libraries: Sequence[tuple[tuple[str, Role], Path]],
    needs: Sequence[LibraryNeeds],
    arguments: argparse.Namespace,
    key: Ed25519PrivateKey | None,
) -> PayloadManifest:
    if arguments.out.exists():
        shutil.rmtree(arguments.out)
    wheel = next(
        line.split("==")[1].split()[0]
        for line in (bootstrap.REQUIREMENTS / "native.lock").read_text().splitlines()
        if line.startswith("llama-cpp-python==")
    )
    versions = {one.soname.split(".so")[0]: one.version for one in needs}
    facts = PayloadFacts(
        version=arguments.version,
        minimum_version=arguments.minimum,
        platform=platform_here(),
        build=f"llama.cpp {versions['libllama']} of llama-cpp-python {wheel}",
        llama_cpp=versions["libllama"],
        ggml=versions["libggml"],
        models=models_to_list(MANIFEST),
    )
    built = [
        BuiltLibrary(path.read_bytes(), stem, need.soname, role)
        for ((stem, role), path), need in zip(libraries, needs, strict=True)
    ]
    manifest = pack(built, facts, arguments.out, key)
    public = key.public_key().public_bytes_raw().hex() if key else ""
    (arguments.out / "public-key.txt").write_text(public)
    open_packed(arguments.out, public)
    return manifest


def _tell(manifest: PayloadManifest, out: Path, built: Path, tag: str) -> None:
    seconds = json.loads((built / "built.json").read_text())["seconds"]
    for one in manifest.files:
        print(f"  {one.soname:32} {one.size:>10,} B  packed {one.packed_size:>9,} B")
    whole = sum(one.size for one in manifest.files)
    packed = sum(one.packed_size for one in manifest.files)
    say(f"{manifest.mode} payload {manifest.version}: {whole:,} B, packed {packed:,} B, {tag}")
    say(f"compiled in {seconds} s; {out}")


def build_wheel(payload: Path, folder: Path) -> None:
    """The platform wheel, by hatchling, which reads ``SHIMMY_PAYLOAD``."""
    environment = {**os.environ, "SHIMMY_PAYLOAD": str(payload.resolve())}
    command = (
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "-t",
        "wheel",
        "-d",
        str(folder.resolve()),
    )
    done = subprocess.run(command, cwd=ROOT / "packages/vision", env=environment, check=False)
    if done.returncode != 0:
        stop("The wheel could not be built.", "hatchling's own words stand above.")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nbuild_payload: stopped; run it again to go on", file=sys.stderr)
        sys.exit(130)
