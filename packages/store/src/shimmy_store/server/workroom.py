"""What goes on behind the pages: events are looked at and mail is sent, at once and again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from shimmy_store.domain.private_words import is_event_id
from shimmy_store.domain.retry import Crash
from shimmy_store.errors import StoreError
from shimmy_store.server.limits import period_of
from shimmy_store.server.logs import logger_of
from shimmy_store.server.meters import Meters
from shimmy_store.use_cases.hear_lost_events import hear_lost_events
from shimmy_store.use_cases.send_messages import MOST_MAILS, Posted, send_messages
from shimmy_store.use_cases.sweep_events import Swept, sweep_events
from shimmy_store.use_cases.watch_work import watch_work
from shimmy_store.wiring import Shop

_LOG = logger_of(__name__)
# Nobody has to wake us: this finds what another process heard and what is due again.
_PAUSE_SECONDS = 2.0
_WATCHING_SECONDS = 60.0
_CLEANING_SECONDS = 3600.0
# One request each time: whoever's webhook is lost has the licence within a minute, too.
_LISTENING_SECONDS = 20.0
# A mail that is just being handed over is noted as sent; cut off there, it would go out twice.
_FINISHING_SECONDS = 3.0
_STOPPING_SECONDS = 0.2
_KEEP = timedelta(days=30)


class Workroom:
    """Five loops that end with the app. A failed round is told and tried again.

    A host that lives only while it answers has no loops: it asks ``was_woken`` after each answer,
    and has rounds done with ``work_off``, ``watch`` and ``clean``.
    """

    def __init__(self, shop: Shop, meters: Meters) -> None:
        self._shop = shop
        self._meters = meters
        self._chance = random.SystemRandom().random
        self._bells = (asyncio.Event(), asyncio.Event())
        # Nobody rings these but who stops.
        self._own_bells = (asyncio.Event(), asyncio.Event(), asyncio.Event())
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    def start(self) -> None:
        """Begin to work."""
        events, mail = self._bells
        watch, cleaning, lost = self._own_bells
        rounds = (
            self._keep_at("events", self._sweep, _PAUSE_SECONDS, events),
            self._keep_at("mail", self._send, _PAUSE_SECONDS, mail),
            self._keep_at("watch", self._watch, _WATCHING_SECONDS, watch),
            self._keep_at("cleaning", self._clean, _CLEANING_SECONDS, cleaning),
            self._keep_at("lost", self._hear_lost, _LISTENING_SECONDS, lost),
        )
        self._tasks = [asyncio.create_task(one) for one in rounds]

    def wake(self) -> None:
        """There is something to do now."""
        for bell in self._bells:
            bell.set()

    def was_woken(self) -> bool:
        """Whether ``wake`` was called since this was last asked; where no loops run."""
        woken = any(bell.is_set() for bell in self._bells)
        for bell in self._bells:
            bell.clear()
        return woken

    async def work_off(self, seconds: float, most: int) -> None:
        """Sweep and send until nothing more can be done now, or for about so many seconds.

        No more than ``most`` looks and ``most`` mails: a host may count what one call asks for.
        """
        clock = asyncio.get_running_loop().time
        end, more, looks, mails = clock() + seconds, True, most, most

        async def sweep() -> bool:
            nonlocal looks
            swept = await self._sweep_some(looks)
            looks -= swept.looks
            return swept.settled > 0

        async def send() -> bool:
            nonlocal mails
            posted = await self._send_some(mails)
            mails -= posted.sent + posted.waiting
            return posted.sent > 0

        while more and clock() < end:
            swept = await self._round("events", sweep) and looks > 0
            more = (await self._round("mail", send) and mails > 0) or swept

    async def watch(self) -> None:
        """Tell of work that waits for too long."""
        await self._round("watch", self._watch)

    async def clean(self) -> None:
        """Forget what need not be kept any longer."""
        await self._round("cleaning", self._clean)

    async def stop(self) -> None:
        """Finish what ends soon, then stop wherever it is: every step may be begun again."""
        self._stopping = True
        for bell in (*self._bells, *self._own_bells):
            bell.set()
        left = set(self._tasks)
        if left:
            _, left = await asyncio.wait(left, timeout=_FINISHING_SECONDS)
        while left:
            # Again and again: Python 3.11's wait_for, which sending mail rests on, loses one now
            # and then.
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=_STOPPING_SECONDS)

    async def _keep_at(
        self, name: str, work: Callable[[], Awaitable[bool]], pause: float, bell: asyncio.Event
    ) -> None:
        while not self._stopping:
            bell.clear()
            if not await self._round(name, work) and not self._stopping:
                await _wait(bell, pause)

    async def _round(self, name: str, work: Callable[[], Awaitable[bool]]) -> bool:
        """Whether there may be more to do at once."""
        try:
            return await work()
        except StoreError as error:
            self._meters.rounds.labels(name).inc()
            _LOG.info("round-failed", work=name, code=error.code)
        except Exception as error:  # noqa: BLE001 - a bug must not end the loop for good
            self._meters.rounds.labels(name).inc()
            _LOG.info("round-crashed", work=name, error=type(error).__name__)
        return False

    async def _sweep(self) -> bool:
        return (await self._sweep_some(None)).settled > 0

    async def _sweep_some(self, most: int | None) -> Swept:
        swept = await sweep_events(self._shop.fulfilment, self._chance, most)
        self._meters.settled.inc(swept.settled)
        self._meters.postponed.inc(swept.waiting)
        self._tell("events", swept.crashed)
        if swept.settled:
            # What was settled may have put messages into the outbox.
            self._bells[1].set()
        return swept

    async def _send(self) -> bool:
        return (await self._send_some(MOST_MAILS)).sent > 0

    async def _send_some(self, most: int) -> Posted:
        posted = await send_messages(self._shop.office, self._chance, most)
        self._meters.mails.labels("sent").inc(posted.sent)
        self._meters.mails.labels("postponed").inc(posted.waiting)
        self._tell("mail", posted.crashed)
        return posted

    def _tell(self, work: str, crashed: Sequence[Crash]) -> None:
        """Mistakes of ours that one customer or message met; the others went on."""
        for one in crashed:
            self._meters.rounds.labels(work).inc()
            named = {"event_id": one.event} if is_event_id(one.event) else {}
            _LOG.info("work-crashed", work=work, error=one.kind, **named)

    async def _watch(self) -> bool:
        await watch_work(self._shop.ledger, self._shop.now())
        return False

    async def _hear_lost(self) -> bool:
        fulfilment, handled = self._shop.fulfilment, self._shop.endpoint.handled
        lost = await hear_lost_events(
            fulfilment.payments, fulfilment.ledger, handled, self._shop.now()
        )
        if lost:
            _LOG.info("webhooks-lost", events=lost)
            self._bells[0].set()
        return False

    async def _clean(self) -> bool:
        now = self._shop.now()
        await self._shop.ledger.forget(now - _KEEP, period_of(now) - 1)
        return False


async def _wait(bell: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await bell.wait()
    except TimeoutError:
        return
