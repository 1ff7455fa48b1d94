"""``shimmy-ops secrets-scan``: what must not be published, wherever it hides."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from shimmy_ops.domain.secrets.allowances import Judgement, judge
from shimmy_ops.domain.secrets.findings import Finding, Level
from shimmy_ops.errors import ScanError
from shimmy_ops.use_cases.scan_secrets import Scan, scan_secrets
from shimmy_ops.wiring.scanning import scan_order, scan_today

CLEAN, FOUND, USAGE, UNSCANNED, INTERRUPTED = 0, 1, 2, 3, 130
_USAGE_CODES = ("allow-list-wrong", "place-missing", "nothing-to-scan")
_SAY_EVERY_SECONDS = 5


def add_arguments(_: str, command: argparse.ArgumentParser) -> None:
    """What can be scanned, and how strictly."""
    command.add_argument(
        "places", type=Path, nargs="*", metavar="PLACE",
        help="folders, wheels, archives, binaries; without any, what git tracks from here on",
    )  # fmt: skip
    command.add_argument("--history", action="store_true", help="and all that refs lead to")
    command.add_argument("--all", action="store_true", help="files too that git does not track")
    command.add_argument("--allow-list", type=Path, help="default: secrets-allow.toml")
    command.add_argument("--strict", action="store_true", help="warnings fail as well")
    command.add_argument("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    """0 where nothing is left to say, 1 with findings, 2 and 3 where it could not be scanned."""
    try:
        order = scan_order(args.places, args.allow_list, history=args.history, everything=args.all)
        scan = scan_secrets(order.sources, order.unpacker, _Narrator())
        judgement = judge(
            scan.findings, order.allowances, order.list_path, scan_today(), whole=order.whole
        )
    except ScanError as error:
        print(f"shimmy-ops: {error.message} [{error.code}]", file=sys.stderr)
        if error.hint:
            print(f"shimmy-ops: {error.hint}", file=sys.stderr)
        return USAGE if error.code in _USAGE_CODES else UNSCANNED
    except KeyboardInterrupt:
        print("shimmy-ops: stopped; what was not scanned may hold anything.", file=sys.stderr)
        return INTERRUPTED
    failing = [f for f in judgement.findings if args.strict or f.level is Level.ERROR]
    print(_as_json(scan, judgement) if args.json else _as_text(scan, judgement))
    return FOUND if failing else CLEAN


class _Narrator:
    """Says on stderr how far it is, only where it takes long."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _SAY_EVERY_SECONDS

    def __call__(self, pieces: int, size: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _SAY_EVERY_SECONDS
            print(f"secrets-scan: {pieces} pieces, {_megabytes(size)}", file=sys.stderr)


def _as_text(scan: Scan, judgement: Judgement) -> str:
    lines = []
    for finding in judgement.findings:
        value = f"{finding.shown}, fingerprint {finding.fingerprint}"
        more = f" (and {finding.repeats} more)" if finding.repeats else ""
        lines.append(f"{_place(finding)}: {finding.level} {finding.kind}: ")
        lines[-1] += f"{value if finding.fingerprint else finding.shown}{more}"
        lines.append(f"    {finding.remedy}")
    scanned = f"{scan.pieces} pieces, {_megabytes(scan.size)}, {judgement.allowed} allowed"
    count = len(judgement.findings)
    lines.append(f"{count} finding{'' if count == 1 else 's'} in {scanned}" if count else
                 f"no secrets in {scanned}")  # fmt: skip
    return "\n".join(lines)


def _as_json(scan: Scan, judgement: Judgement) -> str:
    findings = [
        {
            "code": finding.kind,
            "level": finding.level,
            "path": finding.origin.path,
            "members": finding.origin.members,
            "commit": finding.origin.commit,
            "line": finding.spot.line or None,
            "column": finding.spot.column or None,
            "offset": finding.spot.offset,
            "value": finding.shown,
            "fingerprint": finding.fingerprint or None,
            "repeats": finding.repeats,
            "remedy": finding.remedy,
        }
        for finding in judgement.findings
    ]
    scanned = {"pieces": scan.pieces, "bytes": scan.size, "allowed": judgement.allowed}
    return json.dumps({"scanned": scanned, "findings": findings}, indent=2)


def _place(finding: Finding) -> str:
    has_spot = finding.spot.line or finding.spot.offset is not None
    # A path may hold what a terminal would obey.
    place = f"{finding.origin}:{finding.spot}" if has_spot else str(finding.origin)
    return "".join(c if c.isprintable() else "?" for c in place)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
