"""Keep what only the store, Stripe and Keygen know, sealed in one file, and read it back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import PurePath
from typing import Any

from shimmy_ops.domain.backups.ledger_lines import LedgerReader
from shimmy_ops.domain.backups.manifest import (
    KEYGEN,
    LEDGER,
    MANIFEST,
    PARTS,
    PROFILE,
    STRIPE,
    Manifest,
    Part,
    count_documents,
    write_manifest,
)
from shimmy_ops.domain.backups.records import BackupRecord, plan_prune
from shimmy_ops.domain.profile import Profile
from shimmy_ops.errors import BackupError
from shimmy_ops.ports.account_copies import LicensingCopies
from shimmy_ops.ports.billing import Billing
from shimmy_ops.ports.safe import Safe
from shimmy_ops.ports.store_desk import StoreDesk
from shimmy_ops.ports.vault import BackupRecords, Bench, Vault
from shimmy_ops.use_cases.verify_backup import verify_backup

BACKUP_KEY = "backup-key"


@dataclass(frozen=True, slots=True)
class BackupSources:
    """What is kept."""

    desk: StoreDesk
    billing: Billing
    licensing: LicensingCopies
    plans: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BackupPlace:
    """Where it is kept, and what seals it."""

    vault: Vault
    records: BackupRecords
    safe: Safe


@dataclass(frozen=True, slots=True)
class BackupOrder:
    """``keep``: how many stay, None for all. ``told`` hears what was done; ``fresh`` is secret."""

    profile: Profile
    ops: str
    keep: int | None
    told: Callable[[str], None]
    now: Callable[[], datetime]
    fresh: Callable[[], str]


def make_backup(order: BackupOrder, sources: BackupSources, place: BackupPlace) -> BackupRecord:
    """The record of it, verified. Raises OpsError; no half of it is left then."""
    key = _key(order, place.safe)
    began = order.now()
    with place.vault.bench() as bench:
        made = began.isoformat()
        parts = [_ledger(order, sources.desk, bench), *_documents(order, sources, bench)]
        mode = "live" if order.profile.livemode else "test"
        manifest = Manifest(order.profile.name, mode, made, order.ops, tuple(parts))
        first = bench.path(MANIFEST)
        bench.write(first, iter([write_manifest(manifest)]))
        files: list[tuple[str, PurePath]] = [(MANIFEST, first)]
        files += [(name, bench.path(name)) for name in PARTS]
        stamp = began.strftime("%Y%m%dT%H%M%S.%fZ")
        name = f"shimmy-backup-{order.profile.name}-{stamp}.tar.gz.enc"
        sealed = place.vault.seal(name, key, files)
    rows = sum(manifest.part(LEDGER).rows.values())
    record = BackupRecord(sealed.file, made, None, sealed.sha256, rows)
    place.records.write([*place.records.read(), record])
    order.told(f"sealed {sealed.size} bytes")
    verify_backup(sealed.file, key, place.vault, place.records, order.now)
    if order.keep is not None:
        _prune(order.keep, place, order.told)
    return next(one for one in place.records.read() if one.sha256 == sealed.sha256)


def _key(order: BackupOrder, safe: Safe) -> str:
    key = safe.read(BACKUP_KEY)
    if key is None:
        safe.prepare()
        key = order.fresh()
        safe.keep(BACKUP_KEY, key)
        order.told("a backup key was made: without it no backup can be read again")
    return key


def _ledger(order: BackupOrder, desk: StoreDesk, bench: Bench) -> Part:
    path = bench.path(LEDGER)
    desk.dump(path)
    reader, digest, size = LedgerReader(), hashlib.sha256(), 0
    for piece in bench.read(path):
        reader.take(piece)
        digest.update(piece)
        size += len(piece)
    read = reader.finish()
    if read.mode != ("live" if order.profile.livemode else "test"):
        raise BackupError(
            "backup-of-other-mode",
            f"The store's ledger is one of {read.mode} mode, and the profile is not.",
            hint="Check store_url in the profile.",
        )
    order.told(f"ledger: {read.rows} rows")
    return Part(LEDGER, size, digest.hexdigest(), dict(read.tables))


def _documents(order: BackupOrder, sources: BackupSources, bench: Bench) -> Iterator[Part]:
    kept: Mapping[str, Callable[[], Mapping[str, Any]]] = {
        KEYGEN: lambda: sources.licensing.read_all(
            lambda kind, count: order.told(f"keygen: {count} {kind}")
        ),
        STRIPE: lambda: _stripe(sources),
        PROFILE: lambda: asdict(order.profile),
    }
    for name, read in kept.items():
        content = json.dumps(read(), indent=1, ensure_ascii=False, default=str).encode()
        bench.write(bench.path(name), iter([content]))
        digest = hashlib.sha256(content).hexdigest()
        yield Part(name, len(content), digest, count_documents(content, name))


def _stripe(sources: BackupSources) -> dict[str, Any]:
    """What provisioning makes, as it is there."""
    found = asdict(sources.billing.read(sources.plans))
    return {name: list(listed) for name, listed in found.items()}


def _prune(keep: int, place: BackupPlace, told: Callable[[str], None]) -> None:
    records = place.records.read()
    gone = plan_prune(records, keep)
    for one in gone:
        place.vault.remove(one.file)
        told(f"removed {one.file}")
    if gone:
        place.records.write([one for one in records if one not in gone])
