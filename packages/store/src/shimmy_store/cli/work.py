"""``shimmy-store sweep``, ``reconcile``, ``retry`` and ``alarms``: the work without the pages."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace

from shimmy_store.domain.fulfilment import Alarm
from shimmy_store.errors import PaymentsError
from shimmy_store.settings import read_settings
from shimmy_store.use_cases.fulfil_in_turn import fulfil_in_turn
from shimmy_store.use_cases.hear_lost_events import hear_lost_events
from shimmy_store.use_cases.reconcile_customers import reconcile_customers
from shimmy_store.use_cases.send_messages import send_messages
from shimmy_store.use_cases.sweep_events import sweep_events
from shimmy_store.use_cases.watch_work import watch_work
from shimmy_store.wiring import Shop, open_shop

# A store that runs beside has something in hand at any moment: that is no work left. Few customers
# and few mails take longer.
_PATIENCE_SECONDS = 5.0
_AGAIN_SECONDS = 0.2


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    """What each of the four takes."""
    if name == "reconcile":
        whom = parser.add_mutually_exclusive_group(required=True)
        whom.add_argument("--all", action="store_true", help="every customer at Stripe")
        whom.add_argument("--customer", metavar="ID", help="one customer: cus_…")
    if name == "retry":
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--all", action="store_true", help="everything that was given up")
        what.add_argument("name", nargs="?", metavar="EVENT|MESSAGE", help="its alarm's subject")
    if name == "alarms":
        parser.add_argument("--json", action="store_true", help="machine-readable")
        parser.add_argument(
            "--done", nargs=2, metavar=("CODE", "SUBJECT"), help="somebody has looked at this one"
        )


def run(args: argparse.Namespace) -> int:
    """0 when everything is settled, 1 when something is left."""
    work = {"sweep": _sweep, "reconcile": _reconcile, "retry": _retry, "alarms": _alarms}
    return asyncio.run(_in_shop(work[args.command], args))


async def _in_shop(
    work: Callable[[Shop, argparse.Namespace], Awaitable[int]], args: argparse.Namespace
) -> int:
    async with open_shop(replace(read_settings(), traced=False)) as shop:
        return await work(shop, args)


async def _sweep(shop: Shop, _args: argparse.Namespace) -> int:
    chance = random.SystemRandom().random
    try:
        await hear_lost_events(
            shop.fulfilment.payments, shop.ledger, shop.endpoint.handled, shop.now()
        )
    except PaymentsError as error:
        # What was heard is worked on all the same.
        print(f"shimmy-store: {error.message} [{error.code}]", file=sys.stderr)
    done = await _sweep_out(shop, chance)
    _tell(done.crashed.elements())
    await watch_work(shop.ledger, shop.now())
    stock = await shop.ledger.take_stock()
    left = stock.events.get("pending", 0) + stock.events.get("parked", 0)
    waiting = stock.messages_waiting + stock.messages_parked
    print(f"events settled {done.settled}, left {left}; messages sent {done.sent}, left {waiting}")
    return 1 if left or waiting else 0


@dataclass
class _Done:
    settled: int = 0
    sent: int = 0
    crashed: Counter[str] = field(default_factory=Counter)


async def _sweep_out(shop: Shop, chance: Callable[[], float]) -> _Done:
    """Rounds until nothing waits, or nothing more comes of them for as long as patience lasts."""
    done, clock = _Done(), asyncio.get_running_loop().time
    end = clock() + _PATIENCE_SECONDS
    while True:
        swept = await sweep_events(shop.fulfilment, chance)
        posted = await send_messages(shop.office, chance)
        done.settled, done.sent = done.settled + swept.settled, done.sent + posted.sent
        done.crashed.update(one.kind for one in (*swept.crashed, *posted.crashed))
        if swept.settled or posted.sent:
            end = clock() + _PATIENCE_SECONDS
            continue
        stock = await shop.ledger.take_stock()
        if clock() >= end or not (stock.events.get("pending") or stock.messages_waiting):
            return done
        await asyncio.sleep(_AGAIN_SECONDS)


def _tell(crashed: Iterable[str]) -> None:
    for kind in crashed:
        print(f"shimmy-store: a mistake of ours: {kind} [crashed]", file=sys.stderr)


async def _retry(shop: Shop, args: argparse.Namespace) -> int:
    count = await shop.ledger.retry(None if args.all else args.name, shop.now())
    print(f"to be tried again {count}")
    return 0 if count or args.all else 1


async def _reconcile(shop: Shop, args: argparse.Namespace) -> int:
    if args.customer:
        end = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        outcome = await fulfil_in_turn(args.customer, shop.fulfilment, end)
        print(f"{args.customer} {outcome}")
        return 0 if outcome == "settled" else 1
    counts: Counter[str] = Counter()
    async for looked in reconcile_customers(shop.fulfilment, patience=_PATIENCE_SECONDS):
        counts[looked.outcome] += 1
        _tell([looked.crash] if looked.crash else [])
        if looked.outcome != "settled":
            print(f"{looked.customer} {looked.outcome} {looked.error}".rstrip(), flush=True)
        if sys.stderr.isatty():
            print(f"\r{counts.total()} looked at", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    names = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    print(f"customers {counts.total()}" + (f": {names}" if names else ""))
    return 0 if counts.total() == counts["settled"] else 1


async def _alarms(shop: Shop, args: argparse.Namespace) -> int:
    if args.done:
        code, subject = args.done
        known = await shop.ledger.acknowledge_alarm(Alarm(code, subject), shop.now())
        print("done" if known else "no such alarm is open")
        return 0 if known else 1
    alarms = await shop.ledger.open_alarms()
    if args.json:
        print(json.dumps([{"code": one.code, "subject": one.subject} for one in alarms]))
    else:
        for one in alarms:
            print(f"{one.code:<16} {one.subject}")
    return 1 if alarms else 0
