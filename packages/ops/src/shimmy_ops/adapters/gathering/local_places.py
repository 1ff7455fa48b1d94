"""Files and folders of the operator's machine that preflight looks at."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from shimmy_ops.adapters.scanning.git_commands import GitCommands
from shimmy_ops.domain.backups.records import BackupRecord
from shimmy_ops.domain.preflight.facts import Backup, KeptFiles
from shimmy_ops.errors import BackupError, KeepingError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_SITE = ("index.html", "pricing.html")


def look_at_secrets(folder: Path, git: GitCommands) -> KeptFiles:
    """Modes and place of the folder; never what is in its files. Raises KeepingError."""
    in_git = git.top(_nearest(folder)) is not None
    if not folder.is_dir():
        return KeptFiles(None, in_git=in_git)
    try:
        mode = stat.S_IMODE(folder.stat().st_mode)
        names = [one.name for one in sorted(folder.iterdir()) if one.stat().st_mode & _OTHERS]
    except OSError as error:
        raise KeepingError(
            "secrets-folder-unreadable",
            f"The folder of secrets cannot be looked into: {error.strerror}.",
        ) from error
    return KeptFiles(mode, tuple(names), in_git)


def _nearest(folder: Path) -> Path:
    """The folder, or what there is of its way."""
    return next(one for one in (folder, *folder.parents) if one.is_dir())


def date_backups(records: Sequence[BackupRecord]) -> tuple[Backup, ...]:
    """When each was made and verified. Raises BackupError for what is no time."""
    try:
        return tuple(
            Backup(_time(one.made), _time(one.verified) if one.verified else None)
            for one in records
        )
    except ValueError as error:
        raise BackupError(
            "backup-records-damaged",
            "backups.json does not say when backups were made.",
            hint="Move it away: backups that are there can be verified by their names.",
        ) from error


def _time(written: str) -> datetime:
    moment = datetime.fromisoformat(written)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def is_site(folder: Path) -> bool:
    """Whether a site was built there."""
    return all((folder / name).is_file() for name in _SITE)
