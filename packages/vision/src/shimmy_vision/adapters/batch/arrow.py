"""pyarrow, where it is installed: an extra, as only batches with Parquet need it."""

from __future__ import annotations

import importlib
from typing import Any

from shimmy_vision.errors import UsageError


def load_parquet() -> tuple[Any, Any]:
    """The modules ``pyarrow`` and ``pyarrow.parquet``. Raises UsageError batch-extra-missing."""
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise UsageError(
            "batch-extra-missing",
            "Parquet needs the package pyarrow, which is not installed.",
            hint="Install it: pip install 'shimmy-vision[batch]', or write to a .jsonl file.",
        ) from error
