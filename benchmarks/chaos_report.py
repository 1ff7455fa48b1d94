"""What a run of ``chaos.py`` showed, as values, checks and a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from chaos_plan import Plan
from chaos_truth import Mails, Seen
from open_loop import percentile


@dataclass(frozen=True, slots=True)
class Check:
    """One promise; ``told``: figures and codes, nobody's address or key."""

    name: str
    holds: bool
    told: str


@dataclass(frozen=True, slots=True)
class Work:
    """What the ledger has at the end; ``unheard``: events that Stripe has and it has not."""

    events: Mapping[str, int]
    messages: Mapping[str, int]
    unheard: int


def judge(
    wrong: Mapping[str, str], seen: Seen, mails: Mails, work: Work, ended: Mapping[str, int]
) -> list[Check]:
    """Every promise, whether it held. ``ended``: kinds of what did not go on by itself."""
    why = Counter(wrong.values())

    def agrees(name: str, *codes: str) -> Check:
        found = {code: why[code] for code in codes if why[code]}
        told = ", ".join(f"{code} {count}" for code, count in found.items())
        return Check(name, not found, told or f"{len(seen.heads())} customers")

    open_events = {one: count for one, count in work.events.items() if one in _OPEN}
    unsent = {one: count for one, count in work.messages.items() if one != "sent"}
    return [
        agrees("every paying customer has one usable licence", "licence-missing"),
        agrees("nobody has several", "several-licences"),
        agrees("none who should not", "licence-unpaid-for", "licence-of-nobody"),
        agrees("nobody pays twice", "pays-twice"),
        agrees("Keygen is as Stripe: plans and expiries", "plan-differs", "expiry-differs"),
        agrees("the ledger is as both", "ledger-unsettled", "ledger-address", _LEDGER_PLAN),
        Check("each event was heard", work.unheard == 0, f"{work.unheard} not heard"),
        Check("each event is settled", not open_events, _listed(open_events or work.events)),
        Check("each mail was sent", not unsent, _listed(unsent or work.messages)),
        Check("each mail arrived", mails.missing == 0, f"{mails.missing} missing"),
        Check("each licence was mailed", not mails.keyless, f"{len(mails.keyless)} not"),
        Check("machines go on after kill -9", not ended, _listed(ended)),
    ]


_OPEN = ("pending", "parked")
_LEDGER_PLAN = "ledger-plan-differs"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def spread(seconds: Sequence[float]) -> dict[str, float | int]:
    """Count, p50, p95 and the most, in seconds."""
    times = sorted(seconds) or [0.0]
    return {
        "count": len(seconds),
        "p50": percentile(times, 50),
        "p95": percentile(times, 95),
        "max": percentile(times, 100),
    }


def written_plan(plan: Plan) -> dict[str, Any]:
    """As the report keeps it."""
    return {
        "faults": [asdict(one) for one in plan.faults],
        "customers": [asdict(one) for one in plan.scripts],
    }


def table(report: Mapping[str, Any]) -> str:
    """For people; Markdown, so that it goes into the documentation as it is."""
    lines = [
        f"seed {report['seed']}, {report['customers']} customers, {report['seconds']:g} s of"
        f" faults, ledger {report['ledger']}, disk by {report['disk']}, {report['date']}",
        "",
        "| faults | injected |",
        "|---|---|",
        *(f"| {name} | {count} |" for name, count in sorted(report["injected"].items())),
        "",
        "| requests of customers that failed | |",
        "|---|---|",
        *(f"| {name} | {count} |" for name, count in sorted(report["failed"].items())),
        "",
        "| what customers did | done | given up |",
        "|---|---|---|",
    ]
    for name in sorted({*report["done"], *report["gave_up"]}):
        done, gave_up = report["done"].get(name, 0), report["gave_up"].get(name, 0)
        lines.append(f"| {name} | {done} | {gave_up} |")
    lines += ["", "| seconds | count | p50 | p95 | max |", "|---|---|---|---|---|"]
    for name in ("from paying to the key", "from the faults' end to right"):
        one = report["times"][name]
        lines.append(f"| {name} | {one['count']} | {one['p50']} | {one['p95']} | {one['max']} |")
    lines += ["", "| check | verdict | |", "|---|---|---|"]
    for one in report["checks"]:
        lines.append(f"| {one['name']} | {'holds' if one['holds'] else 'BROKEN'} | {one['told']} |")
    lines.append(f"\nMails that came twice or more: {report['doubled_mails']}")
    return "\n".join(lines)
