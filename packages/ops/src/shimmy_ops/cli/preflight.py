"""``shimmy-ops preflight``: is everything set up, and what is not?"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from shimmy_ops import __version__
from shimmy_ops.cli.exit_codes import DONE, REFUSED
from shimmy_ops.cli.profile import CONFIG
from shimmy_ops.domain.preflight.checking import Finding, Outcome
from shimmy_ops.domain.preflight.facts import Source
from shimmy_ops.domain.preflight.registry import CHECKS, Report, choose_checks, needed_sources
from shimmy_ops.domain.profile import PROFILES, Profile
from shimmy_ops.errors import ProfileError
from shimmy_ops.use_cases.run_preflight import run_preflight
from shimmy_ops.wiring.accounts import read_profile
from shimmy_ops.wiring.preflight import ProfileSurroundings, open_gatherer, utc_now

_SIGNS: dict[Outcome, str] = {"held": "✓", "failed": "✗", "unknown": "?", "skipped": "–"}  # noqa: RUF001
_PLAIN: dict[Outcome, str] = {"held": "+", "failed": "x", "unknown": "?", "skipped": "-"}


def add_arguments(_: str, command: argparse.ArgumentParser) -> None:
    """Which checks, how strictly, and for whom the answer is."""
    # Not `add_profile`: the list of checks is the same for every profile.
    command.add_argument("--profile", choices=PROFILES)
    command.add_argument(
        "--config", type=Path, default=CONFIG, metavar="FILE", help=f"default: {CONFIG}"
    )
    for name, told in (("--only", "only these"), ("--skip", "all but these")):
        command.add_argument(
            name, action="append", default=[], metavar="ID,…", help=f"{told} checks or families"
        )
    command.add_argument("--strict", action="store_true", help="warnings fail as well")
    command.add_argument("--json", action="store_true", help="one JSON document")
    command.add_argument(
        "--list", action="store_true", dest="listing", help="print the checks and run none"
    )


def run(args: argparse.Namespace) -> int:
    """0 unless an error failed or is unknown; with --strict, a warning either."""
    checks = choose_checks(_split(args.only), _split(args.skip))
    if args.listing:
        return _list(as_json=args.json)
    if args.profile is None:
        raise ProfileError(
            "profile-not-named", "Which profile?", hint=f"--profile {', '.join(PROFILES)}"
        )
    profile = read_profile(args.config, args.profile)
    now, progress = utc_now(), _Progress(len(needed_sources(checks)))
    report = run_preflight(
        checks,
        profile,
        ProfileSurroundings(profile, args.config),
        open_gatherer(),
        progress,
        now=now,
        version=__version__,
    )
    progress.finish()
    passed = report.passes(strict=args.strict)
    if args.json:
        print(json.dumps(_document(report, profile, now, passed=passed), indent=2))
    else:
        for line in _lines(report, passed=passed):
            print(line)
    return DONE if passed else REFUSED


def _split(given: Sequence[str]) -> list[str]:
    return [name.strip() for one in given for name in one.split(",") if name.strip()]


class _Progress:
    """One line on a terminal that is written over; nothing elsewhere."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._shown = sys.stderr.isatty()

    def __call__(self, source: Source) -> None:
        self._done += 1
        if self._shown:
            line = f"\rasked {self._done} of {self._total}: {source:<16}"
            print(line, end="", file=sys.stderr, flush=True)

    def finish(self) -> None:
        """The line is gone."""
        if self._shown and self._done:
            print(f"\r{' ' * 40}\r", end="", file=sys.stderr, flush=True)


def _list(*, as_json: bool) -> int:
    rows = [
        {"id": one.id, "family": one.family, "level": one.level, "live": one.live or one.level,
         "title": one.title}
        for one in CHECKS
    ]  # fmt: skip
    if as_json:
        print(json.dumps(rows, indent=2))
        return DONE
    for row in rows:
        level = row["level"] if row["level"] == row["live"] else f"{row['level']} (live: error)"
        print(f"{row['id']:26}{level:24}{row['title']}")
    return DONE


def _lines(report: Report, *, passed: bool) -> Iterator[str]:
    signs = _signs()
    family = ""
    for one in report.findings:
        if one.family != family:
            family = one.family
            yield family
        level = f" [{one.level}]" if one.outcome in ("failed", "unknown") else ""
        yield f"  {signs[one.outcome]} {one.title}{level} ({one.id})"
        if one.outcome != "held":
            yield f"      {_printable(one.found)}"
        if one.remedy and one.outcome in ("failed", "unknown"):
            yield f"      To do: {one.remedy}"
    counted = ", ".join(f"{count} {outcome}" for outcome, count in report.counts.items() if count)
    yield f"{counted}: {'ready' if passed else 'NOT ready'}"


def _signs() -> dict[Outcome, str]:
    try:
        "".join(_SIGNS.values()).encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return _PLAIN
    return _SIGNS


def _printable(text: str) -> str:
    """A file's name may hold what a terminal would obey."""
    encoding = sys.stdout.encoding or "ascii"
    shown = text.encode(encoding, "replace").decode(encoding)
    return "".join(sign if sign.isprintable() else "?" for sign in shown)


def _document(report: Report, profile: Profile, now: datetime, *, passed: bool) -> dict[str, Any]:
    versions = {
        "shimmy-ops": __version__,
        "shimmy-store": report.store_version or None,
        "python": platform.python_version(),
    }
    return {
        "profile": profile.name,
        "time": now.isoformat(),
        "versions": versions,
        "passed": passed,
        "counts": dict(report.counts),
        "checks": [_checked(one) for one in report.findings],
    }


def _checked(finding: Finding) -> dict[str, Any]:
    shown = asdict(finding)
    shown["remedy"] = finding.remedy if finding.outcome in ("failed", "unknown") else None
    return shown
