"""Files that a judgement is made from: allow-lists, lock files, reports."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from shimmy_ops.errors import ReleaseError

_LARGEST_REPORT = 64_000_000


def read_allow_file(path: Path, *, needed: bool) -> dict[str, Any]:
    """A TOML file; empty where there is none and none is ``needed``. Raises ReleaseError."""
    if not path.exists() and not needed:
        return {}
    try:
        return tomllib.loads(_read(path).decode())
    except ValueError as error:
        raise ReleaseError("allowances-malformed", f"{path} is no TOML: {error}.") from error


def read_text(path: Path) -> str:
    """Raises ReleaseError."""
    return _read(path).decode(errors="replace")


def read_report(path: Path) -> bytes:
    """Raises ReleaseError, also for one that is too large to be ours."""
    data = _read(path)
    if len(data) > _LARGEST_REPORT:
        raise ReleaseError("tests-report-too-large", f"{path} is too large to be a report.")
    return data


def write_text(path: Path, text: str) -> None:
    """Raises ReleaseError."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ReleaseError(
            "judgement-unwritable", f"{path} cannot be written: {error.strerror}."
        ) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ReleaseError(
            "judged-file-unreadable",
            f"{path} cannot be read: {error.strerror or type(error).__name__}.",
        ) from error
