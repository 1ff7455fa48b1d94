"""What is kept of one live transaction, and whether it was whole.

A receipt holds ids of Stripe's and Keygen's, amounts and times; no key, address, e-mail or URL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias, get_args

from shimmy_ops.errors import TransactionError

FORMAT, FORMAT_VERSION = "shimmy-live-transaction", 1

StepId: TypeAlias = Literal[
    "checkout-opened",
    "paid",
    "webhook-delivered",
    "licence-issued",
    "mail-sent",
    "portal-opens",
    "activated",
    "analysed",
    "deactivated",
    "refunded",
    "ended",
    "suspended",
    "nothing-left",
]
Outcome: TypeAlias = Literal["waiting", "held", "failed", "skipped"]
Ending: TypeAlias = Literal["open", "held", "failed", "abandoned"]
Way: TypeAlias = Literal["whole", "abandoned"]
Fact: TypeAlias = str | int | float | bool | None
Facts: TypeAlias = Mapping[str, Fact]

STEPS: tuple[StepId, ...] = get_args(StepId)
_OUTCOMES, _ENDINGS, _WAYS = get_args(Outcome), get_args(Ending), get_args(Way)
_PRIVATE = re.compile(r"@|://|\b(?:[0-9A-F]{6}-){3}|\bkey/\w|\b(?:sk|rk|whsec)_\w")
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class StepRecord:
    """``attempts`` counts how often the step was taken up; ``why`` says what is not as it should.

    ``ended`` is None while it is under way, also after it was cut off.
    """

    id: StepId
    began: datetime
    ended: datetime | None = None
    outcome: Outcome = "waiting"
    attempts: int = 1
    facts: Facts = field(default_factory=dict)
    why: str = ""

    @property
    def seconds(self) -> float | None:
        """How long it took, waiting included."""
        return None if self.ended is None else (self.ended - self.began).total_seconds()

    @property
    def over(self) -> bool:
        """Whether nothing is left to do about it."""
        return self.outcome in ("held", "skipped")


@dataclass(frozen=True, slots=True)
class Receipt:
    """``amount`` in the currency's smallest unit; ``mode`` is Stripe's: test or live.

    ``way`` is "abandoned" once somebody chose to undo it rather than to go on. ``outcome`` "failed"
    is one that ended before anybody could have paid.
    """

    id: str
    profile: str
    mode: str
    tool: str
    store: str
    plan: str
    amount: int
    currency: str
    began: datetime
    ended: datetime | None = None
    outcome: Ending = "open"
    way: Way = "whole"
    steps: tuple[StepRecord, ...] = ()

    @property
    def name(self) -> str:
        """What its file is called, without an ending."""
        return f"{self.began:%Y%m%dT%H%M%SZ}-{self.id}"

    @property
    def seconds_to_licence(self) -> float | None:
        """From the payment to the licence at Keygen."""
        return _number(self.fact("licence-issued", "seconds_to_licence"))

    @property
    def seconds_to_mail(self) -> float | None:
        """From the payment to the mail that brings the licence."""
        return _number(self.fact("mail-sent", "seconds_to_mail"))

    def step(self, step: StepId) -> StepRecord | None:
        """What is kept of one step."""
        return next((one for one in self.steps if one.id == step), None)

    def fact(self, step: StepId, name: str) -> Fact:
        """One fact of one step, None where it is not known."""
        record = self.step(step)
        return None if record is None else record.facts.get(name)

    def text(self, step: StepId, name: str) -> str:
        """A fact that is an id; empty where it is not known."""
        found = self.fact(step, name)
        return found if isinstance(found, str) else ""

    def with_step(self, record: StepRecord) -> Receipt:
        """This record in place of the one before it, in the order of the steps."""
        others = [one for one in self.steps if one.id != record.id]
        ordered = sorted([*others, record], key=lambda one: STEPS.index(one.id))
        return replace(self, steps=tuple(ordered))


@dataclass(frozen=True, slots=True)
class Verified:
    """``problems`` is empty where it is whole; ``notes`` are worth knowing all the same."""

    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether it proves what it should."""
        return not self.problems


def check_receipt(
    receipt: Receipt, now: datetime, oldest: timedelta, *, allow_skipped: bool = False
) -> Verified:
    """Whether it ended well, every step held, and it is not older than ``oldest``."""
    problems = []
    if receipt.outcome != "held":
        problems.append(f"it ended as {receipt.outcome}")
    for step in STEPS:
        record = receipt.step(step)
        outcome = "missing" if record is None else record.outcome
        allowed = outcome == "skipped" and step == "analysed" and allow_skipped
        if outcome != "held" and not allowed:
            problems.append(f"{step} is {outcome}")
    times = ("seconds_to_licence", "seconds_to_mail")
    problems += [f"{one} is not known" for one in times if getattr(receipt, one) is None]
    if receipt.ended is None:
        problems.append("it has no end")
    elif now - receipt.ended > oldest:
        hours = oldest / timedelta(hours=1)
        problems.append(f"it is older than {hours:g} hours")
    elif receipt.ended > now + timedelta(minutes=5):
        problems.append("it ended in the future: a clock is wrong")
    notes = []
    if receipt.fact("suspended", "needed_look"):
        notes.append("the licence was suspended only when the store was told to look")
    return Verified(tuple(problems), tuple(notes))


def describe_receipt(receipt: Receipt) -> dict[str, Any]:
    """The document that is kept."""
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "id": receipt.id,
        "profile": receipt.profile,
        "mode": receipt.mode,
        "tool": receipt.tool,
        "store": receipt.store,
        "plan": receipt.plan,
        "amount": receipt.amount,
        "currency": receipt.currency,
        "began": _written(receipt.began),
        "ended": _written(receipt.ended),
        "outcome": receipt.outcome,
        "way": receipt.way,
        "seconds": _seconds(receipt),
        "seconds_to_licence": receipt.seconds_to_licence,
        "seconds_to_mail": receipt.seconds_to_mail,
        "steps": [_describe_step(one) for one in receipt.steps],
    }


def _describe_step(record: StepRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "began": _written(record.began),
        "ended": _written(record.ended),
        "seconds": record.seconds,
        "outcome": record.outcome,
        "attempts": record.attempts,
        "facts": {name: _public(value) for name, value in record.facts.items()},
        "why": _public(record.why[:_LONGEST]),
    }


def _public(value: Fact) -> Fact:
    """Nothing that looks like a key, an address or a link is ever written down."""
    private = isinstance(value, str) and _PRIVATE.search(value)
    return "(not written down)" if private else value


def parse_receipt(document: Any) -> Receipt:
    """From the kept document. Raises TransactionError for anything of another shape."""
    try:
        _one_of((FORMAT,), document["format"])
        _one_of((FORMAT_VERSION,), document["version"])
        texts = ("id", "profile", "mode", "tool", "store", "plan", "currency")
        plain = {name: _of(str, document[name]) for name in texts}
        return Receipt(
            **plain,
            amount=_of(int, document["amount"]),
            began=_time(document["began"]),
            ended=_optional_time(document["ended"]),
            outcome=_one_of(_ENDINGS, document["outcome"]),
            way=_one_of(_WAYS, document["way"]),
            steps=tuple(_parse_step(one) for one in document["steps"]),
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise TransactionError(
            "receipt-malformed",
            "A receipt of a live transaction is damaged, or of another version.",
            hint="Look at Stripe's dashboard whether a subscription is left, then move the file "
            "away from the folder.",
        ) from error


def _parse_step(document: Any) -> StepRecord:
    facts = {_of(str, name): _fact(value) for name, value in document["facts"].items()}
    return StepRecord(
        _one_of(STEPS, document["id"]),
        _time(document["began"]),
        _optional_time(document["ended"]),
        _one_of(_OUTCOMES, document["outcome"]),
        _of(int, document["attempts"]),
        facts,
        _of(str, document["why"]),
    )


def _fact(value: Any) -> Fact:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError("no fact")


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError("another type")
    return value


def _one_of(allowed: tuple[Any, ...], value: Any) -> Any:
    if value not in allowed:
        raise ValueError("an unknown word")
    return value


def _time(value: Any) -> datetime:
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("a time of nowhere")
    return moment


def _optional_time(value: Any) -> datetime | None:
    return None if value is None else _time(value)


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def _seconds(receipt: Receipt) -> float | None:
    return None if receipt.ended is None else (receipt.ended - receipt.began).total_seconds()


def _number(value: Fact) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
