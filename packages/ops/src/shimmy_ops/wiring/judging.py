"""What judges a release: pip-audit, the packages' own data, allow-lists, the tests' report."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

from packaging.markers import default_environment

from shimmy_ops.adapters.judging.git_revision import CHANGED, read_revision
from shimmy_ops.adapters.judging.installed_distributions import InstalledDistributions
from shimmy_ops.adapters.judging.judged_files import (
    read_allow_file,
    read_report,
    read_text,
    write_text,
)
from shimmy_ops.adapters.judging.pip_audit_feed import PipAuditFeed
from shimmy_ops.domain.judging.allow_lists import (
    HoleAllowance,
    LicenceRules,
    parse_hole_allowances,
    parse_licence_rules,
)
from shimmy_ops.domain.judging.inventory import Installed, Pinned, parse_lock
from shimmy_ops.domain.judging.junit_report import TestsReport, parse_report
from shimmy_ops.ports.judging import HoleFeed


def hole_feed(osv_url: str) -> HoleFeed:
    """PyPI's own, or the OSV service at an address."""
    return PipAuditFeed(osv_url)


def hole_allowances(path: Path, *, needed: bool) -> tuple[HoleAllowance, ...]:
    """Of a file that need not be there unless it was named. Raises ReleaseError."""
    return parse_hole_allowances(read_allow_file(path, needed=needed))


def licence_rules(path: Path) -> LicenceRules:
    """Raises ReleaseError."""
    return parse_licence_rules(read_allow_file(path, needed=True))


def pinned_packages(lock: Path) -> tuple[Pinned, ...]:
    """Raises ReleaseError."""
    machine = {name: str(value) for name, value in default_environment().items()}
    return parse_lock(read_text(lock), machine)


def installed_packages(names: list[str]) -> dict[str, Installed]:
    """By name, those that are there."""
    return InstalledDistributions().find(names)


def tests_report(path: Path) -> TestsReport:
    """Raises ReleaseError."""
    return parse_report(read_report(path))


def head_revision() -> str:
    """What git has checked out here, empty without git."""
    return read_revision(Path()).removesuffix(CHANGED)


def write_texts(path: Path, text: str) -> None:
    """Raises ReleaseError."""
    write_text(path, text)


def judging_time() -> datetime:
    """Now."""
    return datetime.now(UTC)


def judging_day() -> date:
    """The day that entries of an allow-list expire by."""
    return judging_time().date()
