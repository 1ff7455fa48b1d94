"""A launch plan as plain values: the packed one, or somebody's own file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from shimmy_ops.adapters.keeping.contract_files import read_toml_contract
from shimmy_ops.errors import LaunchError

PACKED = "launch_plan.toml"


def read_plan_file(path: Path | None) -> dict[str, Any]:
    """``path``, or the packed plan where it is None. Raises LaunchError, ContractError."""
    if path is None:
        return read_toml_contract(PACKED)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LaunchError(
            "launch-plan-unreadable",
            f"{path} cannot be read: {error.strerror or type(error).__name__}.",
        ) from error
    except ValueError as error:
        raise LaunchError("launch-plan-malformed", f"{path} is no TOML: {error}") from error
