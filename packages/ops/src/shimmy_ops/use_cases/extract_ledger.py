"""Take the ledger's dump out of a backup, for the store's own command."""

from __future__ import annotations

from pathlib import PurePath

from shimmy_ops.domain.backups.manifest import Manifest, refuse_other_profile
from shimmy_ops.domain.profile import Profile
from shimmy_ops.ports.vault import Vault
from shimmy_ops.use_cases.read_backup import LedgerPlace, read_backup


def extract_ledger(file: str, key: str, profile: Profile, vault: Vault, to: PurePath) -> Manifest:
    """All of the backup is read and verified first. Raises BackupError."""
    with vault.bench() as bench:
        place = LedgerPlace(bench, bench.path("kept.ndjson"))
        read = read_backup(file, key, vault, place)
        refuse_other_profile(read.manifest, profile.name)
        bench.hand_out(place.path, to)
    return read.manifest
