"""Look at every customer that an event or the time told of, and again later where that failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, TypeAlias

from shimmy_store.domain.retry import Crash, Failure, decide_retry, read_failure
from shimmy_store.ports.ledger import DueWork, PendingEvent
from shimmy_store.use_cases.fulfil_customer import Fulfilled, Fulfilment, fulfil_customer

_MOST = 100
# Each waits on Stripe and Keygen most of the time; both allow for many more.
_AT_ONCE = 8
# While all that run are slow: so often somebody looks what else is due by now.
_LOOK_SECONDS = 2.0
# Longer than one call: what a worker asked for before it was killed happens within.
_LAST_WORDS = timedelta(seconds=15)
_ROUND_SECONDS = 10.0

_Outcome: TypeAlias = Fulfilled | Literal["assigned", "failed"]


@dataclass(frozen=True, slots=True)
class Swept:
    """How many events were settled, how many have to wait, and what crashed."""

    settled: int
    waiting: int
    crashed: tuple[Crash, ...] = ()
    # How often somebody was looked at, whatever came of it.
    looks: int = field(default=0, compare=False)


async def sweep_events(
    fulfilment: Fulfilment, chance: Callable[[], float], most: int | None = None
) -> Swept:
    """One round: until nothing is due any more that somebody else is not just looking at.

    ``most``: how many looks one round may take, where what they ask for is counted.

    Where there is always more it ends after some seconds, so that whoever waits for the next one is
    not forgotten: those whose time has come, and those who were busy.
    Raises LedgerError; other failures are noted on their events, mistakes of ours too.
    """
    await fulfilment.ledger.wake_customers(fulfilment.now())
    await _inherit(fulfilment)
    return await _Round(fulfilment, chance, most).run()


async def _inherit(fulfilment: Fulfilment) -> None:
    """Nobody waits minutes for a lease that nobody uses, only for what was just asked for under it.

    Of a worker that was killed, or of this one when the ledger was gone as it was given back.
    """
    if fulfilment.is_gone is None:
        return
    now = fulfilment.now()
    for customer, token in await fulfilment.ledger.leases_in_the_way(now):
        owner = token.rpartition(" ")[0]
        ours = owner == fulfilment.owner
        # Asked after the ledger was: who took it meanwhile did so with another token.
        unused = customer not in fulfilment.in_hand if ours else fulfilment.is_gone(owner)
        if unused:
            await fulfilment.ledger.shorten_lease(token, now + _LAST_WORDS)


@dataclass
class _Round:
    """A few at once. Who is slow takes one place and holds up nobody else."""

    fulfilment: Fulfilment
    chance: Callable[[], float]
    most: int | None = None
    looks: int = 0
    running: dict[asyncio.Task[_Outcome], DueWork] = field(default_factory=dict)
    # Still due after they were looked at: not at once again, or they would keep their places.
    passed: set[str] = field(default_factory=set)
    problem: BaseException | None = None
    settled: int = 0
    waiting: int = 0
    crashed: list[Crash] = field(default_factory=list)

    async def run(self) -> Swept:
        end = asyncio.get_running_loop().time() + _ROUND_SECONDS
        try:
            await self._start()
            while self.running:
                done, _ = await asyncio.wait(
                    self.running, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    self._count(task, self.running.pop(task))
                if not done:
                    self.passed.clear()
                if asyncio.get_running_loop().time() < end:
                    await self._start()
        finally:
            # None is left running behind our back.
            for task in self.running:
                task.cancel()
            await asyncio.gather(*self.running, return_exceptions=True)
        # All were let finish before a failure is told.
        if self.problem is not None:
            raise self.problem
        return Swept(self.settled, self.waiting, tuple(self.crashed), self.looks)

    async def _start(self) -> None:
        """Fill the places that are free; nothing more is begun once the ledger fails."""
        free = _AT_ONCE - len(self.running)
        if self.most is not None:
            free = min(free, self.most - self.looks)
        if free <= 0 or self.problem is not None:
            return
        seen = self.passed | {_name(one) for one in self.running.values()}
        try:
            # Those seen may be due as well: asked for besides, so that they hide nobody.
            found = await self.fulfilment.ledger.due_work(self.fulfilment.now(), free + len(seen))
        except Exception as error:  # noqa: BLE001 - told once those that run have ended
            self.problem = error
            return
        for due in [one for one in found if _name(one) not in seen][:free]:
            self.running[asyncio.create_task(self._look(due))] = due
            self.looks += 1

    def _count(self, task: asyncio.Task[_Outcome], due: DueWork) -> None:
        problem = task.exception()
        if problem is not None:
            self.problem = self.problem or problem
            return
        outcome = task.result()
        if outcome == "settled":
            self.settled += due.events
        elif outcome != "assigned":
            self.waiting += due.events
        if outcome in ("busy", "overtaken"):
            self.passed.add(_name(due))

    async def _look(self, due: DueWork) -> _Outcome:
        event = due.event
        try:
            if not event.customer:
                return await self._find_customer(event)
            return await fulfil_customer(event.customer, self.fulfilment)
        except Exception as error:  # noqa: BLE001 - a mistake of ours must not repeat itself for ever
            failure = read_failure(error)
        if failure.crash:
            self.crashed.append(Crash(failure.crash, event.id))
        await self._postpone(due, failure)
        return "failed"

    async def _find_customer(self, event: PendingEvent) -> _Outcome:
        payments, ledger = self.fulfilment.payments, self.fulfilment.ledger
        customer = await payments.customer_of(event.payment) if event.payment else ""
        await ledger.assign_event(event.id, customer, self.fulfilment.now())
        return "assigned" if customer else "settled"

    async def _postpone(self, due: DueWork, failure: Failure) -> None:
        """Everything that is due of this customer: all of it was looked at, in vain."""
        ledger, now = self.fulfilment.ledger, self.fulfilment.now()
        await ledger.raise_alarms(failure.alarms, now)
        events = [due.event]
        while events:
            for event in events:
                age = now - event.received
                wait = decide_retry(
                    event.attempts + 1, age, self.chance(), retryable=failure.retryable
                )
                again = None if wait is None else now + wait
                await ledger.postpone_event(event.id, failure.code, again)
            customer = due.event.customer
            events = list(await ledger.due_events(now, _MOST, customer)) if customer else []


def _name(due: DueWork) -> str:
    return due.event.customer or f"event {due.event.id}"
