"""What goes wrong between a sender and the SMTP server, as a queue of values."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias, get_args

Stage: TypeAlias = Literal["connect", "mail", "rcpt", "data", "after-data"]
SmtpFaultKind: TypeAlias = Literal["temporary", "permanent", "drop", "slow"]

LONGEST_SECONDS: Final = 240.0
"""A silent connection is closed after 300 seconds, whoever is to blame."""
_NAMELESS: Final = ("connect", "mail")


@dataclass(frozen=True, slots=True)
class SmtpFault:
    """One thing that goes wrong.

    ``stage``    "connect": instead of the greeting; "mail", "rcpt": at this command;
                 "data": the message is sent whole and not kept;
                 "after-data": it is sent and kept, and only the reply goes wrong
    ``kind``     "temporary": a 4xx reply; "permanent": a 5xx reply;
                 "drop": the connection is cut without a reply;
                 "slow": wait ``seconds``, then go on as usual
    ``times``    so many times; -1 is always until cleared
    ``to``       only at this recipient, of a message with this recipient; empty is any
    """

    stage: Stage
    kind: SmtpFaultKind
    times: int = 1
    to: str = ""
    seconds: float = 0.0

    @property
    def reply(self) -> str:
        """What a refusal says; empty for a fault that is none."""
        return _REPLIES.get((self.stage, self.kind), "")

    def meets(self, stage: Stage, recipients: Sequence[str]) -> bool:
        """Whether this is the place for it."""
        concerned = not self.to or self.to.lower() in (one.lower() for one in recipients)
        return stage == self.stage and concerned


_SUFFIX: Final = "fault on request"
_REPLIES: Mapping[tuple[Stage, SmtpFaultKind], str] = {
    ("connect", "temporary"): f"421 4.3.2 {_SUFFIX}: come back later",
    ("connect", "permanent"): f"554 5.3.2 {_SUFFIX}: no mail is taken here",
    ("mail", "temporary"): f"451 4.3.0 {_SUFFIX}: not now",
    ("mail", "permanent"): f"550 5.7.1 {_SUFFIX}: not from this sender",
    ("rcpt", "temporary"): f"450 4.2.1 {_SUFFIX}: recipient busy",
    ("rcpt", "permanent"): f"550 5.1.1 {_SUFFIX}: no such recipient",
    ("data", "temporary"): f"451 4.3.0 {_SUFFIX}: message not kept",
    ("data", "permanent"): f"554 5.6.0 {_SUFFIX}: message not kept",
    ("after-data", "temporary"): f"451 4.3.0 {_SUFFIX}: message kept in truth",
    ("after-data", "permanent"): f"554 5.6.0 {_SUFFIX}: message kept in truth",
}


def parse_smtp_fault(data: Any) -> SmtpFault:
    """A fault from JSON; ValueError says what is wrong."""
    known = SmtpFault.__slots__
    if not isinstance(data, dict) or set(data) - set(known):
        raise ValueError(f"a fault is an object with some of {sorted(known)}")
    for name, choices in (("stage", get_args(Stage)), ("kind", get_args(SmtpFaultKind))):
        if data.get(name) not in choices:
            raise ValueError(f"{name} must be one of {list(choices)}")
    if not isinstance(data.get("to", ""), str):
        raise ValueError("to is not an address")  # noqa: TRY004 - wrong input, not a bug
    if data.get("to") and data["stage"] in _NAMELESS:
        raise ValueError(f"at {data['stage']} no recipient is known yet: leave to out")
    _check_seconds(data)
    return SmtpFault(**{**data, "times": checked_times(data.get("times", 1))})


def _check_seconds(data: Mapping[str, Any]) -> None:
    seconds, slow = data.get("seconds", 0.0), data["kind"] == "slow"
    if type(seconds) not in (int, float) or not 0 <= seconds <= LONGEST_SECONDS:
        raise ValueError(f"seconds must be a number from 0 to {LONGEST_SECONDS:g}")
    if slow != bool(seconds):
        raise ValueError("seconds goes with slow, and slow with seconds")


def checked_times(times: Any) -> int:
    """How often a fault comes; ValueError for what is no such number."""
    if type(times) is not int or (times < 1 and times != -1):
        raise ValueError("times must be a whole number above zero, or -1 for always")
    return times


@dataclass(slots=True)
class SmtpFaultPlan:
    """The faults still to come, first match first."""

    faults: list[SmtpFault] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, *faults: SmtpFault) -> None:
        """Append ``faults``."""
        with self.lock:
            self.faults.extend(faults)

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        with self.lock:
            self.faults.clear()

    def take(self, stage: Stage, recipients: Sequence[str] = ()) -> SmtpFault | None:
        """The fault of this moment, counted down."""
        with self.lock:
            for place, fault in enumerate(self.faults):
                if fault.meets(stage, recipients):
                    if fault.times == 1:
                        del self.faults[place]
                    elif fault.times > 1:
                        self.faults[place] = replace(fault, times=fault.times - 1)
                    return fault
        return None

    def waiting(self) -> Sequence[SmtpFault]:
        """What is still to come."""
        with self.lock:
            return tuple(self.faults)
