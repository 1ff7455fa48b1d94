"""``shimmy-ops.toml`` as plain values."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from shimmy_ops.errors import ProfileError


def read_profile_file(path: Path) -> dict[str, Any]:
    """Raises ProfileError; a line that is no TOML is not repeated, it may hold a secret."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(
            "profile-file-unreadable",
            f"{path} cannot be read: {error.strerror or type(error).__name__}.",
            hint="docs/ops.md shows one; name it with --config.",
        ) from error
    except ValueError as error:
        raise ProfileError(
            "profile-file-malformed", f"{path} is no TOML.", hint="Check quotes and brackets."
        ) from error
