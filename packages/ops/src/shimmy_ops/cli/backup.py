"""``shimmy-ops backup make|verify|list`` and ``shimmy-ops restore``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from shimmy_ops import __version__
from shimmy_ops.cli.confirming import typed
from shimmy_ops.cli.exit_codes import DONE, PENDING
from shimmy_ops.cli.profile import add_profile
from shimmy_ops.domain.backups.ledger_lines import TableDifference
from shimmy_ops.domain.backups.manifest import Manifest
from shimmy_ops.domain.profile import Profile
from shimmy_ops.errors import BackupError
from shimmy_ops.use_cases.drill_restore import drill_restore
from shimmy_ops.use_cases.extract_ledger import extract_ledger
from shimmy_ops.use_cases.make_backup import BackupOrder, BackupPlace, make_backup
from shimmy_ops.use_cases.restore_backup import Restored, RestoreOrder, restore_backup
from shimmy_ops.use_cases.verify_backup import verify_backup
from shimmy_ops.wiring.accounts import fresh_secret, read_profile
from shimmy_ops.wiring.backups import (
    backup_key_place,
    backup_place,
    need_backup_key,
    open_backup_sources,
    open_rehearsal,
    open_restore_target,
)
from shimmy_ops.wiring.customers import utc_now


def add_arguments(name: str, command: argparse.ArgumentParser) -> None:
    """Make, verify, list; or restore."""
    if name == "restore":
        _add_restore(command)
        return
    actions = command.add_subparsers(dest="action", required=True)
    make = actions.add_parser("make", help="keep everything in one sealed file, and read it back")
    add_profile(make)
    make.add_argument("--out", type=Path, metavar="FOLDER", help="default: in the state folder")
    make.add_argument(
        "--keep", type=_count, metavar="N", help="remove older ones but N and the last verified"
    )
    verify = actions.add_parser("verify", help="read one to its last byte")
    add_profile(verify)
    verify.add_argument("file", nargs="?", type=Path, metavar="FILE", help="default: the newest")
    extract = actions.add_parser("extract", help="take the ledger's dump out, unsealed")
    add_profile(extract)
    extract.add_argument("file", nargs="?", type=Path, metavar="FILE", help="default: the newest")
    extract.add_argument("--ledger", type=Path, required=True, metavar="NEW", help="where it goes")
    listed = actions.add_parser("list", help="those that were made here")
    add_profile(listed)
    listed.add_argument("--json", action="store_true", help="machine-readable")


def _add_restore(command: argparse.ArgumentParser) -> None:
    add_profile(command)
    command.add_argument("file", nargs="?", type=Path, metavar="FILE", help="default: the newest")
    how = command.add_mutually_exclusive_group()
    how.add_argument(
        "--drill", action="store_true", help="rehearse on a scratch ledger; no store is touched"
    )
    how.add_argument("--yes", action="store_true", help="do not ask for the profile's name")
    command.add_argument(
        "--licences",
        action="store_true",
        help="make licences again that Keygen has not any more, under their old ids and keys",
    )


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return count


def run(args: argparse.Namespace) -> int:
    """0 when it was done and verified; 3 where Keygen has licences of the backup no more."""
    profile = read_profile(args.config, args.profile)
    base = args.config.resolve().parent
    if args.command == "restore":
        return (_drill if args.drill else _restore)(args, profile, base)
    work: dict[str, Callable[[argparse.Namespace, Profile, Path], int]] = {
        "make": _make,
        "verify": _verify,
        "extract": _extract,
        "list": _list,
    }
    return work[args.action](args, profile, base)


def _make(args: argparse.Namespace, profile: Profile, base: Path) -> int:
    place = backup_place(profile, base, args.out)
    with place.records.alone(), open_backup_sources(profile, base) as sources:
        order = BackupOrder(profile, __version__, args.keep, _tell, utc_now, fresh_secret)
        record = make_backup(order, sources, place)
    print(f"made and verified: {record.file} ({record.rows} rows of the ledger)")
    print(f"its key: {backup_key_place(profile, base)}")
    print("Keep a copy of the key elsewhere: without it the backup is worthless.")
    return DONE


def _verify(args: argparse.Namespace, profile: Profile, base: Path) -> int:
    place = backup_place(profile, base)
    file = _file(args.file, place)
    with place.records.alone():
        read = verify_backup(file, need_backup_key(place), place.vault, place.records, utc_now)
    _show_manifest(read.manifest)
    print("verified: every byte is as it was put in")
    return DONE


def _extract(args: argparse.Namespace, profile: Profile, base: Path) -> int:
    place = backup_place(profile, base)
    file = _file(args.file, place)
    manifest = extract_ledger(file, need_backup_key(place), profile, place.vault, args.ledger)
    print(f"{args.ledger}: the ledger of {manifest.made}, NOT sealed; it holds personal data")
    print(f"shimmy-store ledger restore {args.ledger}")
    return DONE


def _list(args: argparse.Namespace, profile: Profile, base: Path) -> int:
    records = backup_place(profile, base).records.read()
    if args.json:
        print(json.dumps({"backups": [asdict(one) for one in records]}, indent=2))
        return DONE
    for one in records:
        state = f"verified {one.verified}" if one.verified else "not verified"
        print(f"{one.made}  {one.rows:8} rows  {state}  {one.file}")
    if not records:
        print("no backup was made here")
    return DONE


def _drill(args: argparse.Namespace, profile: Profile, base: Path) -> int:
    place = backup_place(profile, base)
    file = _file(args.file, place)
    rehearsal = open_rehearsal(profile, base)
    tables = drill_restore(file, need_backup_key(place), profile, place.vault, rehearsal)
    _show_tables(tables)
    print("rehearsed: the store's own command restores it, to the last value")
    return DONE


def _restore(args: argparse.Namespace, profile: Profile, base: Path) -> int:
    place = backup_place(profile, base)
    order = RestoreOrder(
        _file(args.file, place),
        need_backup_key(place),
        profile,
        args.licences,
        lambda manifest: _agree(manifest, yes=args.yes),
    )
    with open_restore_target(profile, base) as target:
        restored = restore_backup(order, place.vault, target)
    _show_tables(restored.tables)
    for customer in restored.erased:
        print(f"erased once more, as was asked since: {customer}")
    for customer in restored.begun:
        print(f"begun to erase and left as it is: {customer}; `erase-customer` goes on")
    return _show_licences(restored)


def _show_licences(restored: Restored) -> int:
    left = [one for one in restored.missing if one not in restored.again]
    if restored.again:
        print(f"licences made again at Keygen, with no pages used: {len(restored.again)}")
        print("Machines come back by themselves when they are next used.")
    if left:
        print("Keygen has these licences of the backup no more:")
        for one in left:
            print(f"  {one}")
        print("--licences makes them again, under their old ids and keys.")
        return PENDING
    print("restored and verified")
    print("Now `shimmy-store reconcile --all`: what happened since the backup is at Stripe.")
    return DONE


def _agree(manifest: Manifest, *, yes: bool) -> None:
    """Raises BackupError unless somebody types which profile it is."""
    _show_manifest(manifest)
    if yes:
        return
    if not typed(manifest.profile, "This fills the store's empty ledger."):
        raise BackupError(
            "restore-not-confirmed", "Nothing was changed.", hint="--yes goes on without asking."
        )


def _file(given: Path | None, place: BackupPlace) -> str:
    """Raises BackupError where none is named and none was made."""
    if given is not None:
        return str(given)
    records = place.records.read()
    if not records:
        raise BackupError(
            "backup-none", "No backup was made here.", hint="`shimmy-ops backup make` makes one."
        )
    return records[-1].file


def _show_manifest(manifest: Manifest) -> None:
    print(f"profile {manifest.profile}, {manifest.mode} mode, made {manifest.made}")
    print(f"by shimmy-ops {manifest.ops}")
    for part in manifest.parts:
        rows = ", ".join(f"{count} {kind}" for kind, count in part.rows.items())
        print(f"  {part.name}: {part.size} bytes{f' ({rows})' if rows else ''}")


def _show_tables(tables: Sequence[TableDifference]) -> None:
    for one in tables:
        if one.same:
            print(f"  {one.table}: {one.rows} rows, the same")
        else:
            print(
                f"  {one.table}: {one.rows} rows, {one.missing} missing; the store has worked on: "
                f"{one.changed} changed, {one.more} more"
            )


def _tell(line: str) -> None:
    print(line, file=sys.stderr)
