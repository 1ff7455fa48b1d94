"""``shimmy-ops monitor``: how the store does. Samples, alerts, figures, dashboards, rules."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from shimmy_ops.cli.exit_codes import DONE, PENDING, REFUSED
from shimmy_ops.cli.profile import add_profile
from shimmy_ops.domain.monitoring.alerting import REMIND_HOURS, KnownAlert, trial_notice
from shimmy_ops.domain.monitoring.documents import picture_document
from shimmy_ops.domain.monitoring.grafana_dashboard import dashboard_text
from shimmy_ops.domain.monitoring.picture import Picture
from shimmy_ops.domain.monitoring.prometheus_rules import rules_text
from shimmy_ops.domain.monitoring.verdict import State, judge_picture, verdict_document
from shimmy_ops.errors import OpsError
from shimmy_ops.wiring.accounts import read_profile
from shimmy_ops.wiring.monitoring import Monitor, open_channels, utc_now, write_file

_WINDOWS = {"1h": 1.0, "24h": 24.0, "7d": 168.0, "30d": 720.0}
_MOST_HOURS = 744.0
_CODES: dict[State, int] = {"held": DONE, "missed": REFUSED, "unknown": PENDING}
_RULES, _DASHBOARD = "prometheus-rules.yml", "grafana-dashboard.json"


def add_arguments(_: str, command: argparse.ArgumentParser) -> None:
    """Five actions, and showing where none is named."""
    command.add_argument(
        "action",
        nargs="?",
        default="show",
        choices=tuple(_ACTIONS),
        help="sample: take one and alert (for cron); check: were all objectives held; rules: files "
        "for Prometheus and Grafana; alert-test: one through each channel; default: show",
    )
    add_profile(command)
    shown = command.add_mutually_exclusive_group()
    shown.add_argument("--once", action="store_true", help="print figures once (the default)")
    shown.add_argument("--watch", action="store_true", help="sample and show, until stopped")
    shown.add_argument("--serve", action="store_true", help="the same as a page on loopback")
    command.add_argument("--json", action="store_true", help="machine-readable")
    command.add_argument("--html", type=Path, metavar="FILE", help="write the page")
    command.add_argument("--window", choices=tuple(_WINDOWS), default="24h", help="default: 24h")
    command.add_argument(
        "--interval", type=_seconds, default=60.0, metavar="S", help="between samples; default: 60"
    )
    command.add_argument(
        "--remind", type=_hours, default=REMIND_HOURS, metavar="H", help="default: 4 hours"
    )
    command.add_argument("--hours", type=_hours, default=24.0, metavar="N", help="check: so many")
    command.add_argument(
        "--min-coverage", type=_share, default=0.9, metavar="X", help="check: default 0.9"
    )
    command.add_argument("--port", type=int, default=8401, help="--serve: default 8401")
    command.add_argument(
        "--out", type=Path, default=Path(), metavar="FOLDER", help="rules: default: here"
    )


def run(args: argparse.Namespace) -> int:
    """What exit codes mean is each action's."""
    return _ACTIONS[args.action](args)


def _show(args: argparse.Namespace) -> int:
    monitor = _monitor(args)
    if args.watch:
        from shimmy_ops.cli.dashboard.watching import run_dashboard

        return run_dashboard(_source(monitor, args), args.interval)
    if args.serve:
        from shimmy_ops.cli.dashboard.serving import run_page_server

        return run_page_server(_source(monitor, args), args.interval, args.port)
    picture = monitor.picture(_WINDOWS[args.window])
    if args.html is not None:
        from shimmy_ops.cli.dashboard.serving import write_page

        write_page(picture, args.html)
    if args.json:
        print(json.dumps(picture_document(picture), indent=2))
    elif args.html is None:
        _print_picture(picture)
    return DONE


def _source(monitor: Monitor, args: argparse.Namespace) -> Callable[[str], Picture]:
    """Samples as often as told, however often somebody looks."""
    last = [utc_now() - timedelta(days=1)]

    def source(window: str) -> Picture:
        now = utc_now()
        if now - last[0] >= timedelta(seconds=args.interval / 2):
            last[0] = now
            monitor.sample(args.interval)
            monitor.alert(timedelta(hours=args.remind))
        return monitor.picture(_WINDOWS[window])

    return source


def _print_picture(picture: Picture) -> None:
    from rich.console import Console
    from rich.panel import Panel

    from shimmy_ops.cli.dashboard.panel_texts import panel_text
    from shimmy_ops.domain.monitoring.panels import decide_verdict, make_panels, taken_at

    console = Console(soft_wrap=False, highlight=False, emoji=False, markup=False)
    console.print(f"{picture.profile}: {decide_verdict(picture).text}")
    console.print(taken_at(picture))
    for panel in make_panels(picture):
        console.print(Panel(panel_text(panel), title=panel.title, title_align="left"))


def _sample(args: argparse.Namespace) -> int:
    """0 whatever was found: cron must not complain beside the alerts."""
    monitor = _monitor(args)
    sample = monitor.sample(args.interval)
    alerts = monitor.alert(timedelta(hours=args.remind))
    firing = [one for one in alerts if one.state == "firing"]
    if args.json:
        document = {
            "at": sample.at.isoformat(),
            "up": sample.up,
            "seconds": sample.seconds,
            "unread": dict(sample.findings.unread),
            "firing": [one.key for one in firing],
            "unsent": sorted({name for one in alerts for name in one.failed}),
        }
        print(json.dumps(document, indent=2))
        return DONE
    unread = ", ".join(f"{name} ({code})" for name, code in sample.findings.unread.items())
    print(f"{'up' if sample.up else 'DOWN'} in {sample.seconds:.3f} s")
    if unread:
        print(f"not read: {unread}")
    _print_alerts(alerts)
    return DONE


def _print_alerts(alerts: tuple[KnownAlert, ...]) -> None:
    for one in alerts:
        unsent = f" (not sent by {', '.join(one.failed)})" if one.failed else ""
        print(f"{one.state}: {one.title}: {one.detail}{unsent}")


def _check(args: argparse.Namespace) -> int:
    """0 held, 1 missed, 3 not known (yet)."""
    verdict = judge_picture(_monitor(args).picture(args.hours), args.min_coverage)
    if args.json:
        print(json.dumps(verdict_document(verdict), indent=2))
    else:
        for name, value in verdict.figures.items():
            print(f"{name:24}{'not known' if value is None else f'{value:g}'}")
        print(f"{'coverage':24}{verdict.coverage:.3f}")
        for line in verdict.missed:
            print(f"missed: {line}")
        for line in verdict.unknown:
            print(f"not known: {line}")
        print(verdict.state)
    return _CODES[verdict.state]


def _rules(args: argparse.Namespace) -> int:
    for name, text in ((_RULES, rules_text()), (_DASHBOARD, dashboard_text())):
        write_file(args.out / name, text)
        print(args.out / name)
    return DONE


def _alert_test(args: argparse.Namespace) -> int:
    """0: every channel took it; 1: one did not, or there is none."""
    profile = read_profile(args.config, args.profile)
    channels, failed = open_channels(profile), 0
    for channel in channels:
        try:
            channel.send(trial_notice(profile.name, utc_now()))
            print(f"{channel.name}: sent")
        except OpsError as error:
            failed += 1
            print(f"{channel.name}: {error.message} [{error.code}]", file=sys.stderr)
    if not channels:
        print(
            "shimmy-ops: nobody can be told: give the credential mail or alert-webhook "
            "(docs/ops.md).",
            file=sys.stderr,
        )
    return REFUSED if failed or not channels else DONE


def _monitor(args: argparse.Namespace) -> Monitor:
    return Monitor(read_profile(args.config, args.profile), args.config.parent)


def _seconds(text: str) -> float:
    return _number(text, 1, 86400)


def _hours(text: str) -> float:
    return _number(text, 0.01, _MOST_HOURS)


def _share(text: str) -> float:
    return _number(text, 0, 1)


def _number(text: str, least: float, most: float) -> float:
    value = float(text)
    if not (math.isfinite(value) and least <= value <= most):
        raise argparse.ArgumentTypeError(f"{text} is not from {least:g} to {most:g}")
    return value


_ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {
    "show": _show,
    "sample": _sample,
    "check": _check,
    "rules": _rules,
    "alert-test": _alert_test,
}
