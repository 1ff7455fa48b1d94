"""Keep what a release consists of, and write its record."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePath

from shimmy_ops.domain.releases.choosing import Named, decide_release
from shimmy_ops.domain.releases.config_file import parse_config
from shimmy_ops.domain.releases.records import Part, Release
from shimmy_ops.errors import ReleaseError
from shimmy_ops.ports.releases import Shelf


def record_release(
    shelf: Shelf,
    named: Named,
    folders: Mapping[Part, PurePath],
    environment: str | None,
    now: datetime,
) -> Release:
    """The record, which may have been there already: the same order makes nothing twice.

    ``folders`` are the built site and the Worker's bundle, ``environment`` the text of the store's
    environment file. May be cut off anywhere. Raises ReleaseError, KeepingError.
    """
    history = shelf.history()
    if history.problems:
        raise ReleaseError(
            "history-damaged",
            "The records of releases are damaged:\n  " + "\n  ".join(history.problems),
            hint="Take them from a backup. shimmy-ops release verify looks at all of them.",
        )
    given = {part: shelf.add_folder(folder) for part, folder in folders.items()}
    if environment is not None:
        given["config"] = shelf.add_config(parse_config(environment).text())
    release = decide_release(history, shelf.state(), named, given, now.isoformat())
    if release not in history.releases:
        shelf.append(release)
    return release
