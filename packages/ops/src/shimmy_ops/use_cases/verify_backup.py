"""Read a backup to its last byte, and note that it was whole."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from shimmy_ops.domain.backups.records import BackupRecord, note_verified
from shimmy_ops.ports.vault import BackupRecords, Vault
from shimmy_ops.use_cases.read_backup import BackupRead, read_backup


def verify_backup(
    file: str, key: str, vault: Vault, records: BackupRecords, now: Callable[[], datetime]
) -> BackupRead:
    """What is inside. Raises BackupError, and nothing is noted then."""
    read = read_backup(file, key, vault)
    sealed = vault.measure(file)
    found = BackupRecord(
        sealed.file, read.manifest.made, now().isoformat(), sealed.sha256, read.ledger.rows
    )
    records.write(note_verified(records.read(), found))
    return read
