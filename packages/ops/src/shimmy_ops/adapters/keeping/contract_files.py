"""The contracts as files: packed into the wheel, or the repository's when installed in place."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from shimmy_ops.errors import ContractError


def read_contract(name: str) -> Any:
    """The parsed content of ``contracts/NAME``, which is JSON. Raises ContractError."""
    return _parsed(name, json.loads)


def read_toml_contract(name: str) -> dict[str, Any]:
    """The same of one that is TOML. Raises ContractError."""
    found: dict[str, Any] = _parsed(name, tomllib.loads)
    return found


def _parsed(name: str, parse: Callable[[str], Any]) -> Any:
    packed = resources.files("shimmy_ops") / "contracts" / name
    in_place = Path(__file__).resolve().parents[6] / "contracts" / name
    try:
        return parse((packed if packed.is_file() else in_place).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ContractError(
            "contract-unreadable",
            f"contracts/{name} cannot be read: {error}",
            hint="Reinstall shimmy-ops.",
        ) from error
