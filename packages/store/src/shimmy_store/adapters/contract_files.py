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
    in_place = Path(__file__).resolve().parents[5] / "contracts" / name
    try:
        text = packed.read_text() if packed.is_file() else in_place.read_text()
        return json.loads(text)
    except (OSError, ValueError) as error:
        raise CatalogError(
            "catalog-unreadable",
            f"contracts/{name} cannot be read: {error}",
            hint="Reinstall shimmy-store.",
        ) from error
