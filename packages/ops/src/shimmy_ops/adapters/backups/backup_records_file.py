"""The ``BackupRecords`` port as ``backups.json``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from shimmy_ops.adapters.keeping.lock_files import hold_lock
from shimmy_ops.adapters.keeping.private_files import read_private, write_private
from shimmy_ops.domain.backups.records import BackupRecord, parse_records, record_documents
from shimmy_ops.errors import BackupError, KeepingError


class BackupRecordsFile:
    """Its folder is made when it is first needed, for its owner alone."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def alone(self) -> Iterator[None]:
        with hold_lock(self._path.with_name(f".{self._path.name}.lock")):
            yield

    def read(self) -> tuple[BackupRecord, ...]:
        if not self._path.exists():
            return ()
        try:
            read = json.loads(read_private(self._path))
        except ValueError as error:
            raise BackupError(
                "backup-records-damaged",
                f"{self._path} is no list of backups any more.",
                hint="Move it away: backups that are there can be verified by their names.",
            ) from error
        return parse_records(read)

    def write(self, records: Sequence[BackupRecord]) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise KeepingError(
                "file-unwritable", f"{self._path.parent} cannot be made: {error.strerror}."
            ) from error
        write_private(self._path, json.dumps(record_documents(records), indent=2) + "\n")
