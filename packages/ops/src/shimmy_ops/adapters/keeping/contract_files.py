"""The contracts as files: packed into the wheel, or the repository's when installed in place."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from shimmy_ops.errors import ContractError


def read_contract(name: str) -> Any:
    """The parsed content of ``contracts/NAME``. Raises ContractError."""
    packed = resources.files("shimmy_ops") / "contracts" / name
    in_place = Path(__file__).resolve().parents[6] / "contracts" / name
    try:
        return json.loads(packed.read_text() if packed.is_file() else in_place.read_text())
    except (OSError, ValueError) as error:
        raise ContractError(
            "contract-unreadable",
            f"contracts/{name} cannot be read: {error}",
            hint="Reinstall shimmy-ops.",
        ) from error
