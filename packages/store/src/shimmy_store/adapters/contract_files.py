"""The contracts as files: packed into the wheel, or the repository's when installed in place."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from shimmy_store.errors import CatalogError

_NAME = "plans.json"


def read_plans() -> Any:
    """The parsed content of ``plans.json``. Raises CatalogError if it is missing or no JSON."""
    packed = resources.files("shimmy_store") / "contracts" / _NAME
    in_place = Path(__file__).resolve().parents[5] / "contracts" / _NAME
    try:
        text = packed.read_text() if packed.is_file() else in_place.read_text()
        return json.loads(text)
    except (OSError, ValueError) as error:
        raise CatalogError(
            "catalog-unreadable",
            f"The catalog of plans cannot be read: {error}",
            hint="Reinstall shimmy-store.",
        ) from error
