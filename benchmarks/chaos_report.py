"""What a run of ``chaos.py`` showed, as values, checks and a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from chaos_plan import Plan
from chaos_truth import Counted, Mails, Seen
from open_loop import percentile


@dataclass(frozen=True, slots=True)
class Check:
    """One promise; ``told``: figures and codes, nobody's address or key.

    ``of``: how many it was looked at with. With none it does not hold: nothing was shown.
    """

    name: str
    holds: bool
    told: str
    of: int


@dataclass(frozen=True, slots=True)
class Work:
    """What the ledger has at the end; ``heard`` and ``unheard``: Stripe's events it has and not."""

    events: Mapping[str, int]
    messages: Mapping[str, int]
    heard: int
    unheard: int


@dataclass(frozen=True, slots=True)
class Late:
    """Of ``customers``, how many were right only after ``patience`` seconds; the last of them."""

    patience: float
    customers: int
    count: int
    last: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that is judged.

    ``lost``: events that no webhook told of, and how many of them the ledger has not. ``hit``:
    machines that a kill -9 met, None where none was asked for; ``ended``: kinds of what did not go
    on by itself.
    """

    wrong: Mapping[str, str]
    seen: Seen
    mails: Mails
    work: Work
    pages: Counted
    lost: tuple[int, int]
    hit: int | None
    ended: Mapping[str, int]
    late: Late


def judge(found: Evidence) -> list[Check]:
    """Every promise, whether it held."""
    checks = [*_of_customers(found), *_of_work(found), *_of_months(found)]
    late = found.late
    name = f"all customers are right within {late.patience:g} s"
    told = f"{late.count} later, the last after {late.last:g} s"
    checks.append(_check(name, late.customers, late.count, told))
    lost, missing = found.lost
    checks.append(_check("what no webhook told of was found", lost, missing, f"{missing} not"))
    if found.hit is not None:
        ended = sum(found.ended.values())
        told = _listed(found.ended)
        checks.append(_check("machines go on after kill -9", found.hit, ended, told))
    return checks


def _check(name: str, of: int, wrong: int, told: str) -> Check:
    if not of:
        return Check(name, holds=False, told="nothing to check", of=0)
    return Check(name, not wrong, told if wrong else f"all {of}", of)


def _of_customers(found: Evidence) -> Iterator[Check]:
    seen, why = found.seen, Counter(found.wrong.values())
    heads = seen.heads()
    wanted = {one: seen.expected(one) for one in heads}
    verdicts = Counter(one.verdict for one in wanted.values())
    planned = sum(bool(one.plan) for one in wanted.values())
    rows = sum(one.paid for one in wanted.values())
    for name, of, codes in (
        ("every paying customer has one usable licence", verdicts["must"], ("licence-missing",)),
        ("nobody has several", verdicts["must"], ("several-licences",)),
        ("none who should not", verdicts["must-not"], ("licence-unpaid-for", "licence-of-nobody")),
        ("nobody pays twice", rows, ("pays-twice",)),
        ("Keygen is as Stripe: plans and expiries", planned, ("plan-differs", "expiry-differs")),
        ("the ledger is as both", rows, _LEDGER),
    ):
        bad = {code: why[code] for code in codes if why[code]}
        yield _check(name, of, sum(bad.values()), _listed(bad))


def _of_work(found: Evidence) -> Iterator[Check]:
    work, mails = found.work, found.mails
    known, unheard = work.heard + work.unheard, work.unheard
    yield _check("each event was heard", known, unheard, f"{unheard} not heard")
    left = {one: count for one, count in work.events.items() if one in _OPEN}
    yield _check("each event is settled", sum(work.events.values()), len(left), _listed(left))
    unsent = {one: count for one, count in work.messages.items() if one != "sent"}
    sent = sum(work.messages.values())
    yield _check("each mail was sent", sent, len(unsent), _listed(unsent))
    owed = sum(mails.owed.values())
    yield _check("each mail arrived", owed, mails.missing, f"{mails.missing} missing")
    keyless = len(mails.keyless)
    yield _check("each licence was mailed", mails.licences, keyless, f"{keyless} not")


def _of_months(found: Evidence) -> Iterator[Check]:
    """A month ended while everything failed."""
    seen, pages = found.seen, found.pages
    renewed = [
        head
        for head in seen.heads()
        if any(one.renewals for name in seen.members(head) for one in seen.purchases[name])
    ]
    bad = Counter(found.wrong[one] for one in renewed if one in found.wrong)
    name = "who was renewed has the new month"
    yield _check(name, len(renewed), sum(bad.values()), _listed(bad))
    wrong = f"{pages.wrong} of {pages.licences} not"
    yield _check("pages begin anew with the month", pages.anew, pages.wrong, wrong)


_OPEN = ("pending", "parked")
_LEDGER = ("ledger-unsettled", "ledger-address", "ledger-plan-differs")


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
