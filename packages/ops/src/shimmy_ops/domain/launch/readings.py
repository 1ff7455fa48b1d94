"""One small reader a criterion: from what its command said to a figure.

A reader never guesses: output of another shape than it knows is an unknown, not a zero.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Limits: TypeAlias = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A command's end: its exit code (None: its time was up) and what it said on both ways."""

    exit_code: int | None
    output: str
    errors: str


@dataclass(frozen=True, slots=True)
class Reading:
    """``met`` is None where nobody can know; ``figure`` says what was read, or why nothing was."""

    met: bool | None
    figure: str


def read_tests(evidence: Evidence, _: Limits) -> Reading:
    """``shimmy-ops tests-report``."""
    return _by_exit(evidence, "every test passed")


def read_scan(evidence: Evidence, _: Limits) -> Reading:
    """``shimmy-ops secrets-scan --json``."""
    document = _document(evidence)
    findings, scanned = document.get("findings"), document.get("scanned")
    if not isinstance(findings, list) or not isinstance(scanned, dict):
        return Reading(None, "it does not tell what was found")
    count, pieces = len(findings), scanned.get("pieces")
    if not count and evidence.exit_code != 0:
        return Reading(None, "the scan did not end well")
    # Warnings of an allow-list are findings too, and let the scan pass.
    met = evidence.exit_code == 0
    return Reading(met, f"{_count(count, 'finding')} in {pieces} pieces")


def read_audit(evidence: Evidence, _: Limits) -> Reading:
    """``shimmy-ops audit --json``: an audit that could ask nobody proves nothing."""
    document = _document(evidence)
    reached, holes = document.get("reached"), document.get("holes")
    if reached is False:
        return Reading(None, "whoever knows of vulnerabilities could not be reached")
    if reached is not True or not isinstance(holes, list):
        return Reading(None, "it does not tell what was found")
    open_ones = [one for one in holes if not (isinstance(one, dict) and one.get("allowed"))]
    figure = f"{_count(len(open_ones), 'known hole')}, {len(holes) - len(open_ones)} allowed"
    return Reading(not open_ones and evidence.exit_code == 0, figure)


def read_transaction(evidence: Evidence, _: Limits) -> Reading:
    """``shimmy-ops live-transaction verify --json``."""
    receipt = _receipt(evidence)
    if receipt is None:
        return Reading(None, "there is no receipt in what it said")
    refunded, left = _step(receipt, "refunded"), _step(receipt, "nothing-left")
    met = receipt.get("outcome") == refunded == left == "held" and evidence.exit_code == 0
    return Reading(met, f"refunded: {refunded}, nothing left: {left}")


def read_portal(evidence: Evidence, _: Limits) -> Reading:
    """The same receipt's step."""
    receipt = _receipt(evidence)
    if receipt is None:
        return Reading(None, "there is no receipt in what it said")
    opens = _step(receipt, "portal-opens")
    return Reading(opens == "held", f"portal opens: {opens}")


def read_delivery(evidence: Evidence, limits: Limits) -> Reading:
    """The same receipt's times, from the payment on."""
    receipt = _receipt(evidence)
    if receipt is None:
        return Reading(None, "there is no receipt in what it said")
    figures = {name: _number(receipt.get(name)) for name in limits}
    if any(one is None for one in figures.values()):
        return Reading(None, "the receipt does not tell how long it took")
    licence, mail = figures["seconds_to_licence"], figures["seconds_to_mail"]
    met = all(one is not None and one <= limits[name] for name, one in figures.items())
    return Reading(met, f"licence after {licence:.1f} s, mail after {mail:.1f} s")


def read_latency(evidence: Evidence, limits: Limits) -> Reading:
    """``shimmy-ops monitor check --json``: the slowest of a hundred requests."""
    measured = _number(_document(evidence).get("p99_seconds"))
    if measured is None:
        return Reading(None, "no latency was measured")
    return Reading(measured < limits["p99_seconds"], f"p99 {measured * 1000:.0f} ms")


def read_errors(evidence: Evidence, limits: Limits) -> Reading:
    """The same: the share of requests that were answered with 5xx."""
    measured = _number(_document(evidence).get("error_rate"))
    if measured is None:
        return Reading(None, "no request was counted")
    return Reading(measured < limits["error_rate"], f"{measured * 100:.3f} % errors")


def read_availability(evidence: Evidence, limits: Limits) -> Reading:
    """The same: the share of probes that were answered well, over long enough a watch."""
    document = _document(evidence)
    measured = _number(document.get("availability"))
    hours, coverage = (_number(document.get(name)) for name in ("window_hours", "coverage"))
    if measured is None or hours is None or coverage is None:
        return Reading(None, "it does not tell how long was watched")
    figure = f"{measured * 100:.3f} % over {hours:g} h, {coverage * 100:.0f} % of it covered"
    if measured < limits["availability"]:
        return Reading(False, figure)
    if hours < limits["hours"] or coverage < limits["coverage"]:
        return Reading(None, f"{figure}: too little was watched")
    return Reading(True, figure)


def _by_exit(evidence: Evidence, said: str) -> Reading:
    """Where the exit code is the whole answer, the last line says it in the command's words."""
    if evidence.exit_code is None:
        return Reading(None, "its time was up")
    lines = [one.strip() for one in (evidence.output or evidence.errors).splitlines()]
    told = next((one for one in reversed(lines) if re.search(r"\w", one)), "")[:200]
    met = evidence.exit_code == 0
    return Reading(met, told or (said if met else f"exit code {evidence.exit_code}"))


def _document(evidence: Evidence) -> Mapping[str, Any]:
    try:
        found = json.loads(evidence.output)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _receipt(evidence: Evidence) -> Mapping[str, Any] | None:
    document = _document(evidence)
    found = document.get("receipt", document)
    right = isinstance(found, dict) and found.get("format") == "shimmy-live-transaction"
    return found if right else None


def _step(receipt: Mapping[str, Any], name: str) -> str:
    steps = receipt.get("steps")
    for one in steps if isinstance(steps, list) else ():
        if isinstance(one, dict) and one.get("id") == name:
            return str(one.get("outcome"))
    return "missing"


def _number(value: Any) -> float | None:
    """None also for what no measurement gives: JSON of ours may say NaN, which no bound refuses."""
    right = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if right and math.isfinite(value) and value >= 0 else None


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
