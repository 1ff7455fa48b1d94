"""Rehearse a restore with the store's own command; no store is touched."""

from __future__ import annotations

from shimmy_ops.domain.backups.ledger_lines import (
    TableDifference,
    compare_ledgers,
    read_ledger,
)
from shimmy_ops.domain.backups.manifest import refuse_other_profile
from shimmy_ops.domain.profile import Profile
from shimmy_ops.errors import BackupError
from shimmy_ops.ports.rehearsal import Rehearsal
from shimmy_ops.ports.vault import Vault
from shimmy_ops.use_cases.read_backup import LedgerPlace, read_backup


def drill_restore(
    file: str, key: str, profile: Profile, vault: Vault, rehearsal: Rehearsal
) -> tuple[TableDifference, ...]:
    """All tables, each the same to the last value. Raises BackupError where one is not."""
    with vault.bench() as bench:
        place = LedgerPlace(bench, bench.path("kept.ndjson"))
        read = read_backup(file, key, vault, place)
        refuse_other_profile(read.manifest, profile.name)
        found = read_ledger(rehearsal.restore(place.path, read.manifest.mode))
    tables = compare_ledgers(read.ledger, found)
    wrong = ", ".join(one.table for one in tables if not one.same)
    if wrong:
        raise BackupError(
            "drill-differs", f"What was restored is otherwise than what was kept: {wrong}."
        )
    return tables
