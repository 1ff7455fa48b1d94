"""The contracts as files: packed into the wheel, or the repository's when installed in place."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from shimmy_store.errors import CatalogError


def read_plans() -> Any:
    """The parsed content of ``plans.json``. Raises CatalogError if it is missing or no JSON."""
    return _read("plans.json")


def read_webhook_events() -> Any:
    """That of ``webhook_events.json``. Raises CatalogError if it is missing or no JSON."""
    return _read("webhook_events.json")


def _read(name: str) -> Any:
    packed = resources.files("shimmy_store") / "contracts" / name
    try:
        return json.loads(packed.read_text() if packed.is_file() else _in_place(name).read_text())
    except (OSError, ValueError) as error:
        raise CatalogError(
            "catalog-unreadable",
            f"contracts/{name} cannot be read: {error}",
            hint="Reinstall shimmy-store.",
        ) from error


def _in_place(name: str) -> Path:
    return Path(__file__).resolve().parents[5] / "contracts" / name
