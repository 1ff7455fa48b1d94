"""``shimmy-store ledger``: dump it into a file, restore it, check a file; its steps for D1."""

from __future__ import annotations

import argparse
import asyncio
import uuid
from dataclasses import replace
from functools import partial
from pathlib import Path

from shimmy_store.domain.ledger_dump import WholeDump
from shimmy_store.settings import read_settings
from shimmy_store.use_cases.check_dump import check_dump
from shimmy_store.use_cases.dump_ledger import dump_ledger
from shimmy_store.use_cases.restore_ledger import restore_ledger
from shimmy_store.wiring import open_shop
from shimmy_store.wiring.files import read_dump_at, write_dump_at, write_migrations_at


def add_arguments(_name: str, parser: argparse.ArgumentParser) -> None:
    """``dump``, ``restore`` and ``check``, each with its file; ``migrations`` with a folder."""
    actions = parser.add_subparsers(dest="action", required=True)
    for name, summary in (
        ("dump", "write everything into FILE, which its owner alone may read"),
        ("restore", "fill an empty ledger from FILE"),
        ("check", "say whether FILE is a whole dump"),
    ):
        action = actions.add_parser(name, help=summary)
        action.add_argument("file", type=Path, metavar="FILE")
    steps = actions.add_parser(
        "migrations", help="write the ledger's steps for `wrangler d1 migrations apply`"
    )
    steps.add_argument("--out", type=Path, required=True, metavar="FOLDER")


def run(args: argparse.Namespace) -> int:
    """0 when it is done; refusals are errors."""
    if args.action == "migrations":
        print("\n".join(write_migrations_at(args.out)))
        return 0
    work = {"dump": _dump, "restore": _restore, "check": _check}
    whole = asyncio.run(work[args.action](args.file))
    counts = ", ".join(f"{name} {count}" for name, count in whole.header.tables.items())
    print(f"{args.file}: {whole.header.mode} mode, made {whole.header.made}, rows {whole.rows}")
    print(f"{counts}; sha256 {whole.sha256}")
    return 0


async def _dump(path: Path) -> WholeDump:
    async with open_shop(replace(read_settings(), traced=False)) as shop:
        write_dump_at(path, await dump_ledger(shop.copies, shop.settings.mode, shop.now()))
    return await _check(path)


async def _restore(path: Path) -> WholeDump:
    async with open_shop(replace(read_settings(), traced=False)) as shop:
        read = partial(read_dump_at, path)
        return await restore_ledger(read, shop.copies, shop.settings.mode, str(uuid.uuid4()))


async def _check(path: Path) -> WholeDump:
    return await check_dump(read_dump_at(path))
