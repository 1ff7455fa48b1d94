"""What goes wrong and what customers do, all of it chosen beforehand: a function of the seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

Ledger: TypeAlias = Literal["sqlite", "postgresql"]

MONTHLY = ("developer", "professional", "startup", "enterprise")
PLANS = (*MONTHLY, "lifetime")
# Faults of one call each, by who is called: (kind, its shape at the simulator).
STRIPE = (
    "stripe-503",
    "stripe-503-after-it-was-done",
    "stripe-cut",
    "stripe-cut-after-it-was-done",
    "stripe-slow",
    "stripe-late",
)
KEYGEN = (
    "keygen-500",
    "keygen-429",
    "keygen-slow",
    "keygen-cut",
    "keygen-cut-after-it-was-done",
    "keygen-500-after-it-was-done",
)
SMTP = ("smtp-refused", "smtp-not-now", "smtp-cut-after-data", "smtp-cut", "smtp-slow")
WEBHOOKS = ("webhooks-reversed", "webhooks-doubled", "webhooks-delayed", "webhooks-lost")
KILLS = ("kill-store", "kill-sweeper")
_HOUR, _DAY = 3600.0, 86400.0
_JUMPS = (60.0, 600.0, _HOUR)
_APART = (-600.0, -30.0, 30.0, 600.0)
# A billing period ends for everybody who has bought; some begin anew, some cards fail.
_MONTH = 31 * _DAY
# Not at the very end: hundreds of renewals at once keep the town, which is one process, busy.
_MONTHS_SHARES = (0.4, 0.6)
_SHORT_SECONDS = 60.0
# What is told of the beginning of that month is lost for good.
_LOST_AROUND_SECONDS = 2.0
# When the last payments that take an hour are heard of, there is still something going wrong. Two
# days more and whoever's card failed is out of grace.
_SETTLING_JUMPS = (2 * _HOUR, 50 * _HOUR)
_SETTLING_SHARE = 0.85
_JUMPING_SHARE = 0.6
_COMING_SHARE, _MACHINES_SHARE = 0.7, 0.3
# What a customer does after buying, and how often.
_ACTS = {
    "change-card": 8,
    "card-that-fails": 8,
    "use-pages": 20,
    "upgrade": 10,
    "downgrade": 5,
    "cancel": 8,
    "cancel-now": 4,
    "refund": 6,
    "refund-a-part": 3,
    "dispute": 4,
    "dispute-won": 3,
    "buy-again": 6,
    "buy-elsewhere": 6,
    "recover": 10,
    "nothing": 30,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """``at``: seconds from the start. ``seconds``: how long, or by how much a clock jumps.

    ``times``: how many calls meet it.
    """

    at: float
    kind: str
    seconds: float = 0.0
    times: int = 1


@dataclass(frozen=True, slots=True)
class Script:
    """One customer: comes ``at``, buys ``plan`` by ``pay``, does ``acts`` in order.

    ``settles``: what becomes of a payment that takes time. ``machine``: activates the real
    ``shimmy`` and analyses an image; that process is killed after ``killed_after`` seconds, sooner
    where it has ended by then, and begun anew.
    """

    number: int
    at: float
    plan: str
    pay: str
    settles: str
    acts: tuple[str, ...]
    machine: bool = False
    killed_after: float = 0.0

    @property
    def email(self) -> str:
        """Where its mail goes."""
        return f"chaos-{self.number}@example.com"


@dataclass(frozen=True, slots=True)
class Plan:
    """All of a run."""

    faults: tuple[Fault, ...]
    scripts: tuple[Script, ...]


def plan_chaos(seed: int, customers: int, seconds: float, ledger: Ledger, machines: int) -> Plan:
    """The same for the same arguments, on every machine."""
    chance = random.Random(seed)
    faults = sorted(_faults(chance, seconds, ledger), key=lambda one: (one.at, one.kind))
    with_machine = set(chance.sample(range(customers), min(machines, customers)))
    scripts = (
        _script(chance, number, customers, seconds, machine=number in with_machine)
        for number in range(customers)
    )
    return Plan(tuple(faults), tuple(scripts))


def _faults(chance: random.Random, seconds: float, ledger: Ledger) -> Iterator[Fault]:
    # Nobody has anything to lose in the first moments; all ends with the time that was given.
    first, last = min(2.0, seconds / 10), seconds * 0.98

    def moments(every: float, least: int = 1) -> Iterator[float]:
        for _ in range(max(least, int(seconds / every))):
            yield round(chance.uniform(first, last), 3)

    for kinds, every in ((STRIPE, 1.5), (KEYGEN, 1.5), (SMTP, 3.0)):
        for number, at in enumerate(moments(every, len(kinds))):
            # Each kind comes, however short the run is.
            kind = kinds[number] if number < len(kinds) else chance.choice(kinds)
            times = chance.randint(1, 4)
            yield Fault(at, kind, round(chance.uniform(0.2, 4), 1), times)
    for number, at in enumerate(moments(8, len(WEBHOOKS))):
        kind = WEBHOOKS[number] if number < len(WEBHOOKS) else chance.choice(WEBHOOKS)
        yield Fault(at, kind, round(chance.uniform(0.5, 6), 1))
    yield from _months(seconds)
    yield from (Fault(at, "kill-store") for at in moments(15, 2))
    yield from (Fault(at, "kill-sweeper") for at in moments(15))
    yield from (Fault(at, "disk-full", round(chance.uniform(0.5, 3), 1)) for at in moments(30))
    for at in moments(20):
        yield Fault(max(at, seconds * _JUMPING_SHARE), "clock-forward", chance.choice(_JUMPS))
    for at in moments(25):
        yield Fault(at, "clocks-apart", chance.choice(_APART))
    if ledger == "postgresql":
        yield from (Fault(at, "database-restart") for at in moments(25, 2))
    yield Fault(seconds * _SETTLING_SHARE, "clock-forward", chance.choice(_SETTLING_JUMPS))
    # Killed at the very end, when only the others' patience helps.
    yield Fault(last, "kill-store")


def _months(seconds: float) -> Iterator[Fault]:
    shares = _MONTHS_SHARES if seconds >= _SHORT_SECONDS else _MONTHS_SHARES[:1]
    around = min(_LOST_AROUND_SECONDS, seconds / 10)
    for share in shares:
        yield Fault(seconds * share - around / 2, "webhooks-lost", around)
        yield Fault(seconds * share, "month-passes", _MONTH)


def _script(
    chance: random.Random, number: int, customers: int, seconds: float, *, machine: bool
) -> Script:
    # Every plan is bought, and by every way to pay for it.
    plan = PLANS[number % len(PLANS)]
    pay = chance.choice(("card", "alipay", "wechat_pay")) if plan == "lifetime" else "card"
    settles = "fail" if chance.random() < 0.25 else "succeed"
    count = chance.choice((0, 1, 1, 2))
    acts = tuple(chance.choices(tuple(_ACTS), tuple(_ACTS.values()), k=count))
    # Machines early: theirs take long on a busy machine of ours.
    share = _MACHINES_SHARE if machine else _COMING_SHARE
    at = round(seconds * share * number / max(customers, 1), 3)
    # A machine needs a licence that stays.
    if machine:
        plan, pay, acts = chance.choice(MONTHLY), "card", ()
    return Script(number, at, plan, pay, settles, acts, machine, round(chance.uniform(0.5, 3.0), 2))
