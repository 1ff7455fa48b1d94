"""Divides what PyInstaller found into a core, unpacked at every start, and parts, when imported."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# (where it goes, where it is, PyInstaller's kind)
Entry = tuple[str, str, str]
# The first thing that needs what is under a folder, where that is not the package of its name.
_NEEDED_BY = {
    "shimmy_vision/adapters/payload/packed": "shimmy_vision.settings",
    "llama_cpp/lib": "shimmy_vision.settings",
    "numpy.libs": "numpy",
    "pillow.libs": "PIL",
}
# Unpacks the others.
_CORE = ("backports", "shimmy_vision", f"python{sys.version_info[0]}.{sys.version_info[1]}")
_LEVEL = 19
# OpenVINO computes on the CPU and reads its own files; what drives other devices and reads other
# makers' models is half of it.
_UNUSED = re.compile(
    r"openvino/(cmake|include|tools|torch)/"
    r"|openvino/libs/(cache\.json|tbb\.pc|libopenvino_(c|intel_gpu|intel_npu|auto|auto_batch|hetero|"
    r"gguf|jax|onnx|paddle|pytorch|tensorflow|tensorflow_lite)(_frontend|_plugin)?[.\d]*\.)"
)


@dataclass(frozen=True, slots=True)
class Member:
    """As single_file_entry.py reads it."""

    path: str
    offset: int
    packed: int
    size: int
    sha256: str


def without_unused(entries: Iterable[Entry]) -> list[Entry]:
    """What nothing here ever loads stays away."""
    return [one for one in entries if not _UNUSED.match(one[0].replace("\\", "/"))]


def divide(entries: Iterable[Entry]) -> tuple[list[Entry], dict[str, list[Entry]]]:
    """The core, and each part by the import that unpacks it."""
    core: list[Entry] = []
    parts: dict[str, list[Entry]] = {}
    # A RECORD tells of the scripts that pip wrote, and so of where this build's environment lies.
    listed = sorted(one for one in entries if not one[0].endswith(".dist-info/RECORD"))
    for place, source, kind in listed:
        name = _part_of(place)
        if kind == "SYMLINK":
            # Names for the dynamic linker at the top; what lies in a part finds its own.
            if _part_of(source) == "":
                core.append((place, source, kind))
        elif name:
            parts.setdefault(name, []).append((place, source, kind))
        else:
            core.append((place, source, kind))
    return core, parts


def _part_of(place: str) -> str:
    """Empty for the core."""
    whole = place.replace("\\", "/")
    for folder, name in _NEEDED_BY.items():
        if whole.startswith(f"{folder}/"):
            return name
    first, slash, _rest = whole.partition("/")
    if first.endswith(".dist-info"):
        return "numpy" if first.startswith("numpy-") else ""
    if not slash:
        return "_cffi_backend" if first.startswith("_cffi_backend.") else ""
    return "" if first in _CORE else first


def pack_parts(
    parts: dict[str, list[Entry]], target: Path, identity: str = ""
) -> dict[str, list[Member]]:
    """Write every file of ``parts`` compressed into ``target``; where each one lies there.

    With an ``identity`` of macOS' keychain libraries are signed first: its kernel asks each one.
    """
    index: dict[str, list[Member]] = {}
    offset = 0
    with target.open("wb") as file:
        for name, entries in sorted(parts.items()):
            for place, source, _kind in entries:
                data = _signed(Path(source), identity)
                packed = zstd.compress(data, level=_LEVEL)
                digest = hashlib.sha256(data).hexdigest()
                path = place.replace("\\", "/")
                index.setdefault(name, []).append(
                    Member(path, offset, len(packed), len(data), digest)
                )
                file.write(packed)
                offset += len(packed)
    return index


def _signed(source: Path, identity: str) -> bytes:
    if not identity or source.suffix not in (".so", ".dylib"):
        return source.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(source, folder))
        subprocess.run(
            ("codesign", "--force", "--timestamp", "--options", "runtime", "-s", identity, copy),
            check=True,
        )
        return copy.read_bytes()


def write_index(
    index: dict[str, list[Member]],
    folder: Path,
    modules: list[str],
    core: list[tuple[str, str]],
) -> None:
    """The module that is compiled in, and for the bill of materials what all there is."""
    rows = {name: [tuple(asdict(one).values()) for one in part] for name, part in index.items()}
    length = sum(one.packed for part in index.values() for one in part)
    text = f'"""Made by the build."""\nLENGTH = {length}\nINDEX = {rows!r}\n'
    (folder / "shimmy_single_file.py").write_text(text, encoding="utf-8")
    files = sorted(one.path for part in index.values() for one in part)
    said = {"modules": modules, "files": files, "core": sorted(core)}
    (folder / "contents.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
