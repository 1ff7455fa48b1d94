"""The ledger's steps as files, for tools that take them from a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from shimmy_store.errors import LedgerError


def write_scripts(folder: Path, scripts: Mapping[str, str]) -> None:
    """Texts by name. Raises LedgerError where the folder cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in scripts.items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise LedgerError(
            "migrations-not-written",
            f"The migrations cannot be written: {type(error).__name__}.",
            hint="Name a folder that may be written: --out FOLDER.",
        ) from error
