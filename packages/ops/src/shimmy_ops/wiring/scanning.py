"""What a scan for secrets reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from shimmy_ops.adapters.scanning.allow_list_file import find_allow_list, read_allow_list
from shimmy_ops.adapters.scanning.archive_members import ArchiveMembers
from shimmy_ops.adapters.scanning.git_commands import GitCommands
from shimmy_ops.adapters.scanning.git_history import GitHistory
from shimmy_ops.adapters.scanning.scanned_files import ScannedFiles
from shimmy_ops.domain.secrets.allowances import Allowance
from shimmy_ops.errors import ScanError
from shimmy_ops.ports.scanning import PieceSource, Unpacker


@dataclass(frozen=True, slots=True)
class ScanOrder:
    """What is scanned, with which allow-list; ``whole`` where all that the list is for is read."""

    sources: tuple[PieceSource, ...]
    unpacker: Unpacker
    allowances: tuple[Allowance, ...]
    list_path: str
    whole: bool


def scan_order(
    places: Sequence[Path], allow_list: Path | None, *, history: bool, everything: bool
) -> ScanOrder:
    """The places, and the history around each folder of them; without any, this folder."""
    git, chosen = GitCommands(), tuple(places) or (Path(),)
    for place in chosen:
        if not place.exists():
            raise ScanError("place-missing", f"{place} does not exist.")
    folders = [place for place in chosen if place.is_dir()]
    files = [ScannedFiles(place, git, everything=everything) for place in chosen]
    histories = [GitHistory(folder, git) for folder in folders] if history else []
    if history and not histories:
        raise ScanError("place-missing", "--history needs a folder of a repository.")
    start = (folders[0] if folders else Path()).resolve()
    top = git.top(start)
    path = allow_list or find_allow_list(start, top)
    return ScanOrder(
        (*files, *histories),
        ArchiveMembers(),
        read_allow_list(path) if path else (),
        str(path or ""),
        whole=history and path is not None and top == path.resolve().parent == start,
    )


def scan_today() -> date:
    """The day that entries of an allow-list expire by."""
    return datetime.now(UTC).date()
