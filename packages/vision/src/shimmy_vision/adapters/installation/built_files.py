"""Holds the program's own files against what was built, and its libraries against being usable."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib
import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

from shimmy_vision.adapters.payload.packed_folder import has_payload
from shimmy_vision.adapters.payload.payload_vault import describe_library, open_packed
from shimmy_vision.domain.diagnosis import Finding
from shimmy_vision.domain.payload.pinned import PUBLIC_KEY
from shimmy_vision.errors import LibraryError

_DISTRIBUTION = "shimmy-vision"
# Made by the build of the single file, whose start puts PARTS there.
_SINGLE_FILE = "shimmy_single_file"
# Each brings native code, which another system may refuse to load.
_LIBRARIES = (
    *("cryptography.hazmat.primitives.asymmetric.ed25519", "llguidance", "numpy", "PIL.Image"),
    *("psutil", "pydantic_core", "pypdfium2", "sqlite3", "ssl"),
)
_AGAIN = "Install again: download the file anew, or pip install --force-reinstall shimmy-vision"


def is_single_file() -> bool:
    """Whether this program is one file, to which no package can be added."""
    return _SINGLE_FILE in sys.modules


def check_program() -> Finding:
    """Every byte of the single file, or every file of the wheel that was installed."""
    built: Any = sys.modules.get(_SINGLE_FILE)
    if built is not None:
        try:
            files, size = built.PARTS.check()
        except (OSError, ImportError) as error:
            return Finding("program", "problem", str(error), _AGAIN)
        return Finding("program", "ok", f"single file, {files} parts of {size / 1e6:.0f} MB whole")
    try:
        installed = importlib.metadata.distribution(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return Finding("program", "note", "not installed: nothing to hold its files against")
    if _is_checkout(installed):
        return Finding("program", "note", "a checkout: nothing to hold its files against")
    return judge_record(installed.read_text("RECORD") or "", Path(str(installed.locate_file(""))))


def judge_record(record: str, folder: Path) -> Finding:
    """Whether every file of a wheel's RECORD that has a digest lies whole in ``folder``."""
    listed = [(row[0], row[1]) for row in csv.reader(record.splitlines()) if len(row) == 3]
    pinned = [(name, digest) for name, digest in listed if digest.startswith("sha256=")]
    # What a Python makes of the files itself is no part of the wheel.
    ours = [(name, digest) for name, digest in pinned if not name.endswith(".pyc")]
    changed = [name for name, digest in ours if _digest(folder / name) != digest]
    if not ours:
        return Finding("program", "problem", "what was installed is not recorded", _AGAIN)
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        return Finding("program", "problem", f"changed or missing: {changed[0]}{more}", _AGAIN)
    return Finding("program", "ok", f"{len(ours)} files as they were built")


def _is_checkout(installed: importlib.metadata.Distribution) -> bool:
    try:
        told = json.loads(installed.read_text("direct_url.json") or "{}")
    except ValueError:
        return False
    return bool(told.get("dir_info", {}).get("editable"))


def _digest(path: Path) -> str:
    """As RECORD writes it; empty where there is no such file."""
    try:
        data = path.read_bytes()
    except OSError:
        return ""
    return f"sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip('=')}"


def check_packed_library(directory: Path, public_key: str = PUBLIC_KEY) -> Finding:
    """The packed native library against its manifest; nothing of it is loaded."""
    said = describe_library(directory, public_key)
    if not (public_key or has_payload(directory)):
        return Finding("packed library", "note", said)
    try:
        packed = open_packed(directory, public_key)
        size = sum(len(packed.unpack(file)) for file in packed.manifest.files)
    except LibraryError as error:
        return Finding("packed library", "problem", str(error), error.hint)
    files = len(packed.manifest.files)
    return Finding("packed library", "ok", f"{said}: {files} files of {size / 1e6:.0f} MB whole")


def check_imports(names: tuple[str, ...] = _LIBRARIES) -> Finding:
    """Whether what has native code of its own can be imported."""
    failed = []
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - a foreign module may fail in any way
            failed.append(f"{name}: {type(error).__name__}")
    if failed:
        return Finding("imports", "problem", "; ".join(failed), _AGAIN)
    return Finding("imports", "ok", f"{len(names)} libraries")
