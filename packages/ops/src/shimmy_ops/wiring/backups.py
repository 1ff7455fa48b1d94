"""What a backup is made of, where it lies, and what it is restored into."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from shimmy_ops.adapters.accounts.keygen_copies import KeygenCopies
from shimmy_ops.adapters.accounts.stripe_billing import StripeBilling
from shimmy_ops.adapters.backups.archive_vault import ArchiveVault
from shimmy_ops.adapters.backups.backup_records_file import BackupRecordsFile
from shimmy_ops.adapters.backups.store_rehearsal import StoreRehearsal
from shimmy_ops.domain.profile import Profile
from shimmy_ops.errors import BackupError
from shimmy_ops.ports.rehearsal import Rehearsal
from shimmy_ops.use_cases.make_backup import BACKUP_KEY, BackupPlace, BackupSources
from shimmy_ops.use_cases.restore_backup import RestoreTarget
from shimmy_ops.wiring.accounts import desired_state, open_keygen, open_safe, open_stripe
from shimmy_ops.wiring.customers import erasure_records
from shimmy_ops.wiring.store import open_desk


def backup_place(profile: Profile, base: Path, out: Path | None = None) -> BackupPlace:
    """``base`` is where the profile's folders are; ``out`` another folder for archives."""
    state = base / profile.state_folder
    records = BackupRecordsFile(state / "backups.json")
    return BackupPlace(ArchiveVault(out or state / "backups"), records, open_safe(profile, base))


def backup_key_place(profile: Profile, base: Path) -> str:
    """In words, for whoever must put a copy elsewhere."""
    if profile.keep == "file":
        return str(base / profile.secrets_folder / BACKUP_KEY)
    return f"keyring get shimmy-ops/{profile.name} {BACKUP_KEY}"


def need_backup_key(place: BackupPlace) -> str:
    """Raises BackupError where there is none: then nothing can be read."""
    key = place.safe.read(BACKUP_KEY)
    if key is None:
        raise BackupError(
            "backup-key-missing",
            "There is no backup key here: without it no backup can be read.",
            hint="Put your copy of it into the safe, under the name backup-key.",
        )
    return key


@contextmanager
def open_backup_sources(profile: Profile, base: Path) -> Iterator[BackupSources]:
    """Store, Stripe and Keygen. Raises OpsError."""
    plans = tuple(plan.id for plan in desired_state(profile).offer.plans)
    with ExitStack() as stack:
        desk = stack.enter_context(open_desk(profile, base))
        billing = StripeBilling(stack.enter_context(open_stripe(profile)))
        licensing = KeygenCopies(stack.enter_context(open_keygen(profile)))
        yield BackupSources(desk, billing, licensing, plans)


@contextmanager
def open_restore_target(profile: Profile, base: Path) -> Iterator[RestoreTarget]:
    """Store, Keygen and receipts of erasing. Raises OpsError."""
    with open_desk(profile, base) as desk, open_keygen(profile) as wire:
        yield RestoreTarget(desk, KeygenCopies(wire), erasure_records(profile, base))


def open_rehearsal(profile: Profile, base: Path) -> Rehearsal:
    """The store's own command, beside this one."""
    plans = [plan.id for plan in desired_state(profile).offer.plans]
    return StoreRehearsal(base / profile.state_folder, plans)
