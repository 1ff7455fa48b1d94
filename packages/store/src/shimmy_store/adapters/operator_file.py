"""Who sells, from a TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from shimmy_store.errors import SiteError


def read_operator(path: Path) -> Any:
    """Its content. Raises SiteError where it cannot be read or is no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SiteError(
            "operator-unreadable",
            f"The operator's file {path} cannot be read: {error}",
            hint="docs/site.md shows one.",
        ) from error
