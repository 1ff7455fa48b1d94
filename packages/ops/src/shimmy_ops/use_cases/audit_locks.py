"""Known holes of what lock files pin, without those that may stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import PurePath

from shimmy_ops.domain.judging.allow_lists import HoleAllowance
from shimmy_ops.domain.judging.holes import Audited, Judged, judge_holes
from shimmy_ops.ports.judging import HoleFeed


@dataclass(frozen=True, slots=True)
class Audit:
    """``reached``: every lock file was asked for."""

    audits: tuple[Audited, ...]
    judged: Judged
    reached: bool


def audit_locks(
    locks: Sequence[PurePath], feed: HoleFeed, allowances: Sequence[HoleAllowance], today: date
) -> Audit:
    """The first that is not reached ends it: the others would only wait as long.

    Raises ReleaseError.
    """
    audits: list[Audited] = []
    for lock in locks:
        audits.append(feed.audit(lock))
        if not audits[-1].reached:
            break
    judged = judge_holes(audits, allowances, today)
    return Audit(tuple(audits), judged, all(one.reached for one in audits))
