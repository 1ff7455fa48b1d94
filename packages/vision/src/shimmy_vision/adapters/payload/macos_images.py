"""Libraries on macOS: judged, and signed by the team that signed the program.

With the hardened runtime and library validation the kernel itself refuses pages that the team did
not sign; ``codesign`` is asked besides, so that an unsigned library is told in words. Written
against Apple's documentation and tried with a stand-in for the command only (docs/limits.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from shimmy_vision.adapters.payload.library_images import LibraryImages
from shimmy_vision.domain.payload.manifest import PayloadFile
from shimmy_vision.errors import LibraryError

_CODESIGN = "/usr/bin/codesign"
_TEAM = re.compile(r"[A-Z0-9]{10}")

# Runs a command; its exit status.
Run = Callable[[Sequence[str]], int]


class MacosImages:
    """``checked`` files, each of which ``codesign`` confirms for ``team`` before it is loaded."""

    def __init__(self, checked: LibraryImages, team: str, run: Run) -> None:
        """``team`` is Apple's ten characters. Raises ValueError for anything else."""
        if not _TEAM.fullmatch(team):
            raise ValueError("a team identifier is ten capitals and digits")
        self._checked = checked
        self._run = run
        self._requirement = f'=anchor apple generic and certificate leaf[subject.OU] = "{team}"'

    def place(self, file: PayloadFile) -> str:
        """Raises LibraryError with code library-not-codesigned."""
        path = self._checked.place(file)
        status = self._run((_CODESIGN, "--verify", "--strict", f"-R{self._requirement}", path))
        if status != 0:
            raise LibraryError(
                "library-not-codesigned",
                f"macOS does not find this build's signature on {file.name}.",
                hint="Install the package again from where you got it.",
            )
        return path

    def confirm(self, file: PayloadFile) -> None:
        """What the checked file says after it was loaded."""
        self._checked.confirm(file)
