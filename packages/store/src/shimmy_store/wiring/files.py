"""What the commands do with files: the static site, and dumps of the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from shimmy_store.adapters.dump_file import read_dump_file, write_dump_file
from shimmy_store.adapters.html_reader import StandardHtmlReader
from shimmy_store.adapters.jinja_site import JinjaSite, site_place
from shimmy_store.adapters.ledger_schema import migration_scripts
from shimmy_store.adapters.migration_files import write_scripts
from shimmy_store.adapters.operator_file import read_operator
from shimmy_store.adapters.site_folder import DiskSiteFolder
from shimmy_store.domain.site.findings import Finding
from shimmy_store.domain.site.operator import draft_operator, parse_operator
from shimmy_store.domain.site.order import SiteMode, SiteOrder
from shimmy_store.use_cases.build_site import build_site
from shimmy_store.use_cases.check_site import check_site
from shimmy_store.wiring.shop import catalog


def build_site_at(order: SiteOrder, operator: Path | None, out: Path) -> int:
    """Build the static site; without an operator's file a draft, which is for test mode only."""
    if operator is not None:
        named = parse_operator(read_operator(operator))
    else:
        named = draft_operator() if order.mode == "test" else parse_operator({})
    return build_site(order, named, catalog(), JinjaSite(site_place()), DiskSiteFolder(out))


def check_site_at(mode: SiteMode, folder: Path, hosts: frozenset[str]) -> tuple[Finding, ...]:
    """What is wrong with a built site."""
    return check_site(mode, catalog(), DiskSiteFolder(folder), StandardHtmlReader(), hosts)


def write_migrations_at(folder: Path) -> tuple[str, ...]:
    """The ledger's steps as files for ``wrangler d1 migrations apply``; their names."""
    scripts = migration_scripts()
    write_scripts(folder, scripts)
    return tuple(scripts)


def write_dump_at(path: Path, lines: Iterable[bytes]) -> None:
    """A dump as a file."""
    write_dump_file(path, lines)


def read_dump_at(path: Path) -> Iterator[bytes]:
    """The lines of a dump in a file."""
    return read_dump_file(path)
