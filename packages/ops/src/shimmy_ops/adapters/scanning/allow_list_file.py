"""The allow-list as a TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path

from shimmy_ops.domain.secrets.allowances import Allowance, parse_allowances
from shimmy_ops.errors import ScanError

NAME = "secrets-allow.toml"


def find_allow_list(folder: Path, top: Path | None) -> Path | None:
    """The nearest one from ``folder`` up to ``top``: what lies further up is somebody else's."""
    above = folder.parents if top else ()
    places = [folder, *(place for place in above if top and place.is_relative_to(top))]
    return next((place / NAME for place in places if (place / NAME).is_file()), None)


def read_allow_list(path: Path) -> tuple[Allowance, ...]:
    """Its entries."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ScanError("allow-list-wrong", f"{path} cannot be read: {error}") from error
    return parse_allowances(data)
