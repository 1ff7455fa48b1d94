"""What the targets of ``fuzz.py`` stand on: where the repository is, and what a finding is."""

from __future__ import annotations

import re
import sys
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Servers and folders that targets began with, until whoever runs them in a process that goes on
# closes it.
HELD = ExitStack()


class Broken(Exception):  # noqa: N818 - a finding, not an error of ours
    """A value came out that must not."""


def shape(text: object) -> str:
    """The words of a message without its numbers: the same for inputs that fared the same."""
    return re.sub(r"[\d\W]+", " ", str(text))[:60]


def use_support(package: str) -> None:
    """Modules of ``packages/PACKAGE/tests/support`` can be imported."""
    place = str(ROOT / "packages" / package / "tests/support")
    if place not in sys.path:
        sys.path.append(place)
