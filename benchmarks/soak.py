"""The store and ``shimmy serve`` at work for half an hour, both at once; nothing may grow.

    python benchmarks/soak.py --minutes 30 [--only store|vision] [--ledger postgresql]

Runs ``store_soak.py`` and ``vision_soak.py``, each in a process of its own, and prints a table.
Their reports are ``soak-store.json`` and ``soak-vision.json`` in ``artifacts/``. Exit code 1 where
one of them is not flat, misses a promise or does not report; 130 where Ctrl-C ended it: both are
asked to end and what they saw is shown.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promises import ALLOWED_ERRORS, ALLOWED_MS
from soak_report import PROGRESS, end_with_ctrl_c

HERE = Path(__file__).resolve().parent
ARTIFACTS = HERE.parent / "artifacts"
RESULTS = HERE / "results/soak.json"
SOAKS = ("store", "vision")
_TELL_SECONDS = 60.0
_LOOK_SECONDS = 0.1
# A store whose events do not drain is given two minutes, and a server its own time to stop.
_END_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Running:
    """One soak. ``told`` is its last progress, filled by a thread that reads what it says."""

    name: str
    process: subprocess.Popen[str]
    out: Path
    told: list[str]
    reader: threading.Thread


def main() -> int:
    """Run both, show progress, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Plain)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--only", choices=SOAKS)
    parser.add_argument("--ledger", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--out", type=Path, default=ARTIFACTS, help="folder for the reports")
    parser.add_argument("--write", action="store_true", help=f"keep them in {RESULTS.name} as well")
    args = parser.parse_args()
    end_with_ctrl_c()
    minutes = ("--minutes", str(args.minutes))
    options = {"store": (*minutes, "--ledger", args.ledger), "vision": minutes}
    names = (args.only,) if args.only else SOAKS
    running, interrupted = _run({name: options[name] for name in names}, args.out)
    reports = {one.name: _read(one) for one in running}
    print(table(reports))
    for one in running:
        print(f"{one.name}: {one.out}" if one.out.exists() else f"{one.name}: no report")
    if args.write:
        RESULTS.write_text(f"{json.dumps(reports, indent=1)}\n", encoding="utf-8")
    broken = any(report["broken"] for report in reports.values())
    failed = any(one.process.returncode for one in running)
    return 130 if interrupted else int(broken or failed)


_Plain = argparse.RawDescriptionHelpFormatter


def _begin(name: str, options: Sequence[str], folder: Path) -> Running:
    out = folder / f"soak-{name}.json"
    # No report of an earlier run may pass for this one's.
    out.unlink(missing_ok=True)
    process = subprocess.Popen(
        [sys.executable, HERE / f"{name}_soak.py", *options, "--out", out],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # Of a session of its own: Ctrl-C on a terminal reaches this program alone, which asks the
        # soak to end while what it measures still runs.
        start_new_session=True,
    )
    told: list[str] = []
    reader = threading.Thread(target=_listen, args=(name, process, told), daemon=True)
    return Running(name, process, out, told, reader)


def _listen(name: str, process: subprocess.Popen[str], told: list[str]) -> None:
    for line in process.stderr or ():
        if line.startswith(PROGRESS):
            told[:] = [line.removeprefix(PROGRESS).rstrip()]
        else:
            print(f"{name}: {line}", end="", file=sys.stderr, flush=True)


def _run(options: Mapping[str, Sequence[str]], folder: Path) -> tuple[list[Running], bool]:
    """From their beginning until all have ended, however; whether Ctrl-C did it."""
    running: list[Running] = []
    interrupted = False
    try:
        for name, words in options.items():
            running.append(_begin(name, words, folder))
            running[-1].reader.start()
        _watch(running)
    except KeyboardInterrupt:
        interrupted = True
        print("\nending; what was seen so far is judged", file=sys.stderr, flush=True)
    # From here on whoever is impatient would only leave processes behind.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end = time.monotonic() + _END_SECONDS
    for one in running:
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGINT)
    for one in running:
        try:
            one.process.wait(max(end - time.monotonic(), 1))
        except subprocess.TimeoutExpired:
            os.killpg(one.process.pid, signal.SIGKILL)
            one.process.wait()
        if one.reader.is_alive():
            one.reader.join(5)
    return running, interrupted


def _watch(running: Sequence[Running]) -> None:
    terminal = sys.stderr.isatty()
    shown = time.monotonic() - _TELL_SECONDS + 15
    while any(one.process.poll() is None for one in running):
        time.sleep(_LOOK_SECONDS)
        lines = [f"{one.name}: {told}" for one in running for told in one.told]
        if terminal:
            print(f"\r\x1b[K{' | '.join(lines)}", end="", file=sys.stderr, flush=True)
        elif lines and time.monotonic() - shown >= _TELL_SECONDS:
            shown = time.monotonic()
            print("\n".join(lines), file=sys.stderr, flush=True)
    if terminal:
        print(file=sys.stderr)


def _read(one: Running) -> Mapping[str, Any]:
    try:
        report: dict[str, Any] = json.loads(one.out.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {"broken": [f"no report, exit code {one.process.returncode}"]}
    return report


def table(reports: Mapping[str, Mapping[str, Any]]) -> str:
    """Answers and processes, and what is broken; ``reports`` by name, as the soaks write them."""
    lines = [
        f"{'answers':<10}{'minutes':>9}{'requests':>10}{'wrong':>8}{'rate':>10}"
        f"{'p50 ms':>9}{'p99 ms':>9}   promised: {ALLOWED_ERRORS:.1%}, {ALLOWED_MS:.0f} ms"
    ]
    for name, it in reports.items():
        if "requests" in it:
            lines.append(
                f"{name:<10}{it['seconds'] / 60:>9.1f}{it['requests']:>10}{it['errors']:>8}"
                f"{it['error_rate']:>10.3%}{it['p50_ms']:>9}{it['p99_ms']:>9}"
            )
    if "answers" in reports.get("vision", {}):
        written = reports["vision"]["answers"]["vision"]["all"]
        lines.append(
            f"{'model':<10}{'':>9}{written['count']:>10}{written['errors']:>8}{'':>10}"
            f"{written['p50_ms']:>9}{written['p99_ms']:>9}   of a tiny model; told, not judged"
        )
    head = f"{'process':<10}{'RSS MB':>16}{'PSS MB':>16}{'growth':>9}{'files':>11}{'threads':>11}"
    lines += ["", head]
    for it in reports.values():
        lines += [_process(name, one) for name, one in it.get("processes", {}).items()]
    lines.append("")
    for name, it in reports.items():
        lines.append(f"{name}: {', '.join(it['broken']) or 'flat, and its promises hold'}")
    return "\n".join(lines)


def _process(name: str, it: Mapping[str, Any]) -> str:
    if "growth" not in it:
        return f"{name:<10}{'not seen':>16}"
    rss, pss, files, threads = (
        " → ".join(str(one) for one in it[key]) for key in ("rss_mb", "pss_mb", "files", "threads")
    )
    return f"{name:<10}{rss:>16}{pss:>16}{it['growth']:>9.2%}{files:>11}{threads:>11}"


if __name__ == "__main__":
    sys.exit(main())
