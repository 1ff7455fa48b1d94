"""``shimmy-store site build`` and ``shimmy-store site check``."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from shimmy_store.domain.site.findings import Finding
from shimmy_store.domain.site.order import order_site
from shimmy_store.wiring import files


def add_arguments(_name: str, parser: argparse.ArgumentParser) -> None:
    """``build`` and ``check`` with their options."""
    actions = parser.add_subparsers(dest="action", required=True)
    build = actions.add_parser("build", help="make the static site")
    _add_mode(build)
    build.add_argument("--store-url", required=True, metavar="URL", help="where the store answers")
    build.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="where it goes")
    build.add_argument(
        "--operator", type=Path, metavar="FILE", help="who sells, in TOML; live mode needs it"
    )
    build.add_argument(
        "--site-url", default="", metavar="URL", help="where the site will be, for its map"
    )
    build.add_argument(
        "--base", default="", metavar="PATH", help="path of the site's root, like /repository/"
    )
    build.add_argument(
        "--cname", default="", metavar="HOST", help="GitHub Pages: a domain of yours"
    )
    check = actions.add_parser("check", help="say what is wrong with a built site")
    check.add_argument("folder", type=Path, help="where it was built")
    _add_mode(check)
    check.add_argument(
        "--allow-host", action="append", default=[], metavar="HOST", help="that may be linked to"
    )
    check.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace) -> int:
    """1 where a check finds something."""
    return _build(args) if args.action == "build" else _check(args)


def _add_mode(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mode", required=True, choices=("test", "live"))


def _build(args: argparse.Namespace) -> int:
    order = order_site(
        args.mode, args.store_url, home=args.site_url, base=args.base, cname=args.cname
    )
    count = files.build_site_at(order, args.operator, args.out)
    print(f"{args.out}: {count} files, {args.mode} mode, store {order.store}")
    return 0


def _check(args: argparse.Namespace) -> int:
    hosts = frozenset(host.lower() for host in args.allow_host)
    findings = files.check_site_at(args.mode, args.folder, hosts)
    if args.json:
        print(json.dumps([asdict(one) for one in findings], indent=2, ensure_ascii=False))
    else:
        for one in findings:
            print(_row(args.folder, one))
        print(_sum(args, findings))
    return 1 if findings else 0


def _row(folder: Path, one: Finding) -> str:
    place = f"{folder / one.path}:{one.line}" if one.line else str(folder / one.path)
    return f"{place}: {one.message} [{one.code}]\n    → {one.remedy}"


def _sum(args: argparse.Namespace, findings: tuple[Finding, ...]) -> str:
    if not findings:
        return f"{args.folder}: nothing is wrong, {args.mode} mode"
    return (
        f"{args.folder}: {len(findings)} {'thing is' if len(findings) == 1 else 'things are'} wrong"
    )
