"""Everything goes wrong at once while customers buy; a minute later all has to agree.

The store and its sweeper, Stripe, Keygen and mail run as processes on loopback. Hundreds of
customers buy, change, cancel and dispute, some with the real ``shimmy``; meanwhile every boundary
fails, by a plan that follows from the seed. After the last fault everything has ``--patience``
seconds. Then every paying customer has exactly one usable licence, nobody else has any, Stripe,
Keygen and the ledger agree, and every mail came. Exit code 0; 1 where a promise is broken; 130 when
Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import stripe

from chaos_customers import Customer, Tally, open_stripe
from chaos_faults import Trouble
from chaos_machine import KILLED, MachineError
from chaos_plan import Plan, plan_chaos
from chaos_report import Evidence, Late, Work, judge, spread, table, written_plan
from chaos_street import ChaosStreet, open_chaos_street, sleep_until
from chaos_truth import (
    Seen,
    count_lost,
    count_mails,
    count_pages,
    describe,
    look,
    wrong_customers,
)
from store_crowd import HANDLED
from store_street import ROOT

REPORT = ROOT / "artifacts/chaos.json"
# People who are at it at once; most of them wait for a store that is just being begun anew.
_AT_ONCE = 40
_MACHINES_AT_ONCE, _LEAST_MACHINES = 2, 3
_LOOK_SECONDS = 1.0
# Where no terminal shows the line that changes.
_SAY_SECONDS = 30.0
# Seconds beyond the patience: what is not right then counts as wrong.
_LATER_SECONDS = 300.0


def main() -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=500)
    parser.add_argument("--seed", type=int, help="default: any")
    parser.add_argument("--minutes", type=float, default=6, help="how long faults come")
    parser.add_argument("--ledger", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--machines", type=int, help="default one of 50, 3 at least")
    parser.add_argument("--patience", type=float, default=60, help="seconds after the last fault")
    parser.add_argument("--keep", type=Path, help="a new folder for logs and states")
    parser.add_argument("--plan", action="store_true", help="print the plan and do nothing")
    parser.add_argument("--report", type=Path, default=REPORT)
    args = parser.parse_args()
    args.seed = random.SystemRandom().randrange(10**6) if args.seed is None else args.seed
    machines = args.machines
    if machines is None:
        machines = max(args.customers // 50, _LEAST_MACHINES)
    plan = plan_chaos(args.seed, args.customers, args.minutes * 60, args.ledger, machines)
    if args.plan:
        print(json.dumps(written_plan(plan), indent=1))
        return 0
    try:
        report = run(args, plan)
    except KeyboardInterrupt:
        print("\nchaos: stopped; nothing is left running", file=sys.stderr)
        return 130
    args.report.parent.mkdir(parents=True, exist_ok=True)
    args.report.write_text(f"{json.dumps(report, indent=1)}\n", encoding="utf-8")
    print(table(report))
    return 0 if all(one["holds"] for one in report["checks"]) else 1


def run(args: argparse.Namespace, plan: Plan) -> dict[str, Any]:
    """Everything that was seen."""
    with ExitStack() as stack:
        if args.keep:
            args.keep.mkdir(parents=True)
            folder = args.keep.resolve()
        else:
            made = tempfile.TemporaryDirectory(prefix="shimmy-chaos-", ignore_cleanup_errors=True)
            folder = Path(stack.enter_context(made))
        street = stack.enter_context(open_chaos_street(folder, args.ledger))
        sdk, ended = open_stripe(street), Counter[str]()
        # People of a short run are as hasty as it is.
        tally = Tally(patience=min(max(args.minutes * 20, 4.0), 20.0))
        trouble = Trouble(street, plan, tally.closing)
        machines = stack.enter_context(ThreadPoolExecutor(_MACHINES_AT_ONCE))
        try:
            trouble.begin()
            telling = Telling(tally, ended, trouble, machines)
            _live(street, sdk, plan, telling)
            trouble.end()
            seen, righted = _settle(street, sdk, telling, args.patience)
        except BaseException:
            machines.shutdown(wait=False, cancel_futures=True)
            trouble.end(at_once=True)
            raise
        machines.shutdown()
        return _report(args, plan, street, sdk, Outcome(seen, righted, tally, ended, trouble))


class Telling:
    """One line on stderr, again and again: how far it is."""

    def __init__(
        self, tally: Tally, ended: Counter[str], trouble: Trouble, machines: ThreadPoolExecutor
    ) -> None:
        self.tally, self.ended, self.trouble = tally, ended, trouble
        self.machines = machines
        self._said = time.monotonic()

    def use(self, customer: Customer) -> None:
        """A customer's machine, whose processes may take long on a busy machine of ours."""
        try:
            customer.use_machine()
        except MachineError as error:
            self.ended[str(error)[:200]] += 1

    def say(self, left: int) -> None:
        """How far customers are."""
        faults, failed = self.trouble.done.total(), self.tally.failed.total()
        bought = self.tally.done["buy"]
        self._tell(
            f"{bought} bought, {left} on their way, {faults} faults, {failed} requests failed"
        )

    def say_wrong(self, wrong: int, after: float) -> None:
        """How far the store is once no more faults come."""
        self._tell(f"{after:.0f} s after the last fault {wrong} are not right yet")

    def _tell(self, told: str) -> None:
        """People see one line that changes; a file gets another one now and then."""
        if sys.stderr.isatty():
            print(f"\r{told:<78}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self._said >= _SAY_SECONDS:
            self._said = time.monotonic()
            print(told, file=sys.stderr, flush=True)


def _live(street: ChaosStreet, sdk: stripe.StripeClient, plan: Plan, telling: Telling) -> None:
    """Customers come at their moments; back when all are done and the last fault was."""
    stopping, left = threading.Event(), Counter(people=len(plan.scripts))

    def live(number: int) -> None:
        script = plan.scripts[number]
        if not sleep_until(telling.trouble.began + script.at, stopping):
            return
        customer = Customer(street, sdk, script, telling.tally)
        try:
            customer.live()
            if script.machine:
                telling.machines.submit(telling.use, customer)
        finally:
            left["people"] -= 1

    with ThreadPoolExecutor(_AT_ONCE) as people:
        waiting = [people.submit(live, number) for number in range(len(plan.scripts))]
        try:
            while not all(one.done() for one in waiting):
                telling.say(left["people"])
                time.sleep(0.2)
        except BaseException:
            stopping.set()
            telling.tally.closing.set()
            people.shutdown(wait=False, cancel_futures=True)
            raise
    for one in waiting:
        one.result()


def _settle(
    street: ChaosStreet, sdk: stripe.StripeClient, telling: Telling, patience: float
) -> tuple[Seen, dict[str, float]]:
    """The last look, and when each customer was right for good, in seconds after the faults."""
    righted: dict[str, float] = {}
    while True:
        seen = look(street, sdk)
        after = time.monotonic() - telling.trouble.over
        wrong = wrong_customers(seen)
        telling.say_wrong(len(wrong), after)
        righted = {
            one: righted.get(one, round(after, 1)) for one in seen.heads() if one not in wrong
        }
        work = read_work(street, sdk)
        idle = not work.unheard and not (set(work.events) & {"pending", "parked"})
        if not wrong and idle and set(work.messages) <= {"sent"}:
            return seen, righted
        # Beyond its time, too: late is not the same as wrong, and is told apart.
        if after > patience + _LATER_SECONDS:
            return seen, righted
        time.sleep(_LOOK_SECONDS)


def read_work(street: ChaosStreet, sdk: stripe.StripeClient) -> Work:
    """What the ledger has done and has still to do."""
    view: Any = street.view
    events = dict(view._ask("SELECT state, COUNT(*) FROM events GROUP BY state"))
    messages = dict(view._ask("SELECT state, COUNT(*) FROM outbox GROUP BY state"))
    known = {str(one) for (one,) in view._ask("SELECT id FROM events")}
    listed = sdk.v1.events.list({"limit": 100}).auto_paging_iter()
    told = Counter(one.id in known for one in listed if one.type in HANDLED)
    return Work(events, messages, told[True], told[False])


class Outcome:
    """What ``run`` has at its end."""

    def __init__(
        self,
        seen: Seen,
        righted: Mapping[str, float],
        tally: Tally,
        ended: Counter[str],
        trouble: Trouble,
    ) -> None:
        self.seen, self.righted, self.tally = seen, righted, tally
        self.ended, self.trouble = ended, trouble


def _report(
    args: argparse.Namespace,
    plan: Plan,
    street: ChaosStreet,
    sdk: stripe.StripeClient,
    outcome: Outcome,
) -> dict[str, Any]:
    seen, tally, wrong = outcome.seen, outcome.tally, wrong_customers(outcome.seen)
    mails = count_mails(street, seen)
    machines = sum(one.machine for one in plan.scripts)
    hit = tally.done[KILLED]
    evidence = Evidence(
        wrong,
        seen,
        mails,
        read_work(street, sdk),
        count_pages(seen, tally.pages, tally.machines),
        count_lost(street, HANDLED),
        hit if machines else None,
        outcome.ended,
        late_ones(seen, outcome.righted, args.patience),
    )
    checks = judge(evidence)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": args.seed,
        "customers": args.customers,
        "seconds": args.minutes * 60,
        "ledger": args.ledger,
        "disk": street.disk.how,
        "machines": machines,
        "injected": {**outcome.trouble.done, "kill-vision": hit},
        "not_injected": outcome.trouble.failed,
        "starts": {"store": street.store.starts, "sweeper": street.sweeper.starts},
        "failed": tally.failed,
        "done": tally.done,
        "gave_up": tally.gave_up,
        "verdicts": _verdicts(seen, seen.heads(), lambda one: seen.expected(one).verdict),
        "wrong": dict(Counter(wrong.values())),
        "wrong_ones": [describe(seen, one, why) for one, why in wrong.items()],
        "times": {
            "from paying to the key": spread(tally.seconds_to_key),
            "from the faults' end to right": spread([*outcome.righted.values()]),
        },
        "doubled_mails": mails.doubles,
        "checks": [asdict(one) for one in checks],
        "plan": written_plan(plan),
    }


def late_ones(seen: Seen, righted: Mapping[str, float], patience: float) -> Late:
    """Who was right for good only after the time that is promised."""
    heads = seen.heads()
    late = [righted[one] for one in heads if righted.get(one, 0) > patience]
    never = sum(one not in righted for one in heads)
    return Late(patience, len(heads), len(late) + never, max(late, default=0.0))


def _verdicts(_seen: Seen, customers: Sequence[str], of: Callable[[str], str]) -> dict[str, int]:
    return dict(Counter(of(one) for one in customers))


if __name__ == "__main__":
    sys.exit(main())
