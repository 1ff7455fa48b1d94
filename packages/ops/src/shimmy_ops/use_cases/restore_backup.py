"""Bring a kept ledger back into an empty store, and see that it is all there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from shimmy_ops.domain.backups.ledger_lines import (
    LedgerRead,
    TableDifference,
    compare_ledgers,
    read_ledger,
)
from shimmy_ops.domain.backups.licences import LicenceAgain, missing_licences
from shimmy_ops.domain.backups.manifest import KEYGEN, Manifest, refuse_other_profile
from shimmy_ops.domain.customers.receipts import begun_since
from shimmy_ops.domain.profile import Profile
from shimmy_ops.errors import BackupError, DeskError
from shimmy_ops.ports.account_copies import LicensingCopies
from shimmy_ops.ports.erasure_records import ErasureRecords
from shimmy_ops.ports.store_desk import StoreDesk
from shimmy_ops.ports.vault import Bench, Vault
from shimmy_ops.use_cases.read_backup import BackupRead, LedgerPlace, read_backup


@dataclass(frozen=True, slots=True)
class RestoreOrder:
    """``agreed`` is asked when the backup was found whole, before anything is written; may raise.

    ``licences``: those that Keygen has not any more are made again.
    """

    file: str
    key: str
    profile: Profile
    licences: bool
    agreed: Callable[[Manifest], None]


@dataclass(frozen=True, slots=True)
class RestoreTarget:
    """The store whose ledger is filled, the account of its licences, and who was erased since."""

    desk: StoreDesk
    licensing: LicensingCopies
    erasures: ErasureRecords


@dataclass(frozen=True, slots=True)
class Restored:
    """``missing``: licences that Keygen has not; ``again`` those of them that were made anew.

    ``erased``: customers who asked to be forgotten after the backup was made, and are once more.
    ``begun``: those whose erasure was begun, and who were left alone.
    """

    tables: tuple[TableDifference, ...]
    missing: tuple[str, ...]
    again: tuple[str, ...]
    erased: tuple[str, ...]
    begun: tuple[str, ...] = ()


# Erasing takes rows from these; from the others it takes what they say.
_THINNED = frozenset({"outbox", "links", "alarms"})


def restore_backup(order: RestoreOrder, vault: Vault, target: RestoreTarget) -> Restored:
    """May be cut off anywhere, and run again. Raises OpsError."""
    with vault.bench() as bench:
        place = LedgerPlace(bench, bench.path("kept.ndjson"))
        read = read_backup(order.file, order.key, vault, place)
        refuse_other_profile(read.manifest, order.profile.name)
        order.agreed(read.manifest)
        receipts = target.erasures.read()
        since = begun_since(receipts, read.manifest.made)
        tables = _restore(read, place, target.desk, forgiven=_THINNED if since else frozenset())
    for receipt in since:
        _erase(receipt.customer, target.desk)
    licensing, erased = target.licensing, frozenset(name for one in since for name in one.members)
    left = missing_licences(
        json.loads(read.documents[KEYGEN]), licensing.licences(), licensing.policies(), erased
    )
    again = tuple(_made_again(left, licensing)) if order.licences else ()
    names = tuple(one.customer for one in since)
    begun = tuple(one.customer for one in receipts if not one.finished and one not in since)
    return Restored(tables, tuple(one.id for one in left), again, names, begun)


def _erase(customer: str, desk: StoreDesk) -> None:
    try:
        desk.erase(customer)
    except DeskError as error:
        if error.code != "desk-no-such-customer":
            raise


def _restore(
    read: BackupRead, place: LedgerPlace, desk: StoreDesk, *, forgiven: frozenset[str]
) -> tuple[TableDifference, ...]:
    refused: DeskError | None = None
    try:
        desk.restore(place.path)
    except DeskError as error:
        if error.code != "desk-refused":
            raise
        # Perhaps it is there already, and the answer of the try before was lost.
        refused = error
    tables = compare_ledgers(read.ledger, _dumped(place.bench, desk))
    lost = [one for one in tables if one.missing and one.table not in forgiven]
    if not lost:
        return tables
    if refused is not None:
        raise BackupError(
            "restore-refused",
            refused.message,
            hint="The store's ledger must be empty and of the same mode: start the store on a "
            "fresh one, where no webhook reaches it yet, and run this again.",
        )
    named = ", ".join(f"{one.table} {one.missing}" for one in lost)
    raise BackupError(
        "restore-incomplete",
        f"Rows of the backup are not in the ledger now: {named}.",
        hint="Start the store on a fresh ledger, and run this again.",
    )


def _dumped(bench: Bench, desk: StoreDesk) -> LedgerRead:
    path = bench.path("found.ndjson")
    desk.dump(path)
    return read_ledger(bench.read(path))


def _made_again(left: Iterable[LicenceAgain], licensing: LicensingCopies) -> Iterable[str]:
    for one in left:
        if one.policy is None:
            raise BackupError(
                "restore-without-policy",
                f"Keygen has no policy for the plan of licence {one.id}.",
                hint="Run `shimmy-ops provision --apply` first, then this again.",
            )
        licensing.make_again(one)
        yield one.id
