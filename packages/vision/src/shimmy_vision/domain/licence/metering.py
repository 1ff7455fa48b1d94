"""Pages against the plan's monthly cap: what may start, what to report, what a silence means.

A page is one image with all its tiles. Pages are reserved before, committed after, and reported to
the licence server in batches. Increments there are not idempotent and replies get lost, so one
rule stands above the others: **no page is ever reported twice**. Where that leaves a doubt, the
page goes uncounted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Literal, TypeAlias

from shimmy_vision.domain.licence.access import Notice
from shimmy_vision.domain.licence.certificate import LicenceProof
from shimmy_vision.domain.licence.licence_facts import LicenceFacts
from shimmy_vision.domain.licence.licensor import Licensor
from shimmy_vision.domain.licence.refusals import Refused, explain_cap, say_day

# Pages go out once so many wait, or once the oldest has waited so long.
BATCH_PAGES = 20
BATCH_WAIT = timedelta(minutes=10)
# One batch is never larger, so that one lost reply leaves at most so many pages in doubt.
LARGEST_BATCH = 500
# A request whose reply was lost may still be on its way. No proxy or server keeps one this long.
SETTLE_WAIT = timedelta(minutes=5)
SYNC_PAUSE = timedelta(minutes=5)
_WARN_AT = (95, 80)


@dataclass(frozen=True, slots=True)
class Usage:
    """Pages of this licence: ``counted`` by the server, the rest on this machine.

    ``waiting`` are committed and not yet known to be counted, ``reserved`` are being analysed.
    """

    counted: int
    waiting: int
    reserved: int

    @property
    def total(self) -> int:
        """What has to fit under the cap."""
        return self.counted + self.waiting + self.reserved


@dataclass(frozen=True, slots=True)
class Batch:
    """An increment that was sent, or was about to be.

    ``uses_before`` is what the server had counted at ``read_at``. ``doubted`` is when the count was
    first read after the reply had not come and did not contain the batch; None until then. Both
    are moments the server signed: its clock is the one that nobody here can move.
    """

    id: str
    pages: int
    uses_before: int
    period_start: datetime | None
    read_at: datetime
    doubted: datetime | None = None


Silence: TypeAlias = Literal["applied", "not-applied", "too-early"]


def judge_pages(
    proof: LicenceProof, usage: Usage, pages: int, licensor: Licensor, now: datetime
) -> Refused | tuple[Notice, ...]:
    """Whether ``pages`` more may start; warnings where the cap is near."""
    cap = proof.facts.max_uses
    if cap is None:
        return ()
    wanted = usage.total + pages
    # The end of a month that is over already is no day to wait for.
    end = proof.facts.period_end
    resets = end if end is not None and end > now else None
    if wanted > cap:
        return explain_cap(usage.total, cap, pages, resets, licensor)
    for percent in _WARN_AT:
        if wanted * 100 >= cap * percent:
            return (_warning(percent, wanted, cap, resets),)
    return ()


def sum_usage(counted: int, waiting: int, reserved: int, batch: Batch | None) -> Usage:
    """Pages against the cap; a batch in doubt is not added again once the count can contain it."""
    if batch is not None and counted >= batch.uses_before + batch.pages:
        waiting -= batch.pages
    return Usage(counted, waiting, reserved)


def period_unheard_of(proof: LicenceProof, now: datetime) -> datetime | None:
    """The start of a month that began after the server's last word, if one did.

    Until the server is heard again its count is of the old month: the customer starts afresh.
    """
    end = proof.facts.period_end
    return end if end is not None and proof.issued < end <= now else None


def is_sync_due(
    waiting: int, oldest: datetime | None, failed: datetime | None, now: datetime
) -> bool:
    """Whether to report the waiting pages now; ``failed`` is when the server was last not heard.

    A server that is down must not make every command of a customer wait at its end.
    """
    if not waiting or oldest is None:
        return False
    if failed is not None and abs(now - failed) < SYNC_PAUSE:
        return False
    return waiting >= BATCH_PAGES or abs(now - oldest) >= BATCH_WAIT


def judge_silence(batch: Batch, seen: LicenceFacts, seen_at: datetime) -> Silence:
    """What became of a batch whose reply never came, from the count the server has at ``seen_at``.

    Other machines report to the same count, and a new month resets it. Only a count that cannot
    contain the batch, long enough after another one that did not, says that it was not applied;
    every other one is taken to contain it. Long enough after a reading, not after sending: a
    machine may sleep between any two steps, with the request on its way.
    """
    if seen.period_start != batch.period_start or seen.uses < batch.uses_before:
        return "applied"
    if seen.uses >= batch.uses_before + batch.pages:
        return "applied"
    if batch.doubted is None or seen_at < batch.doubted + SETTLE_WAIT:
        return "too-early"
    return "not-applied"


def is_month_settling(seen: LicenceFacts, seen_at: datetime) -> bool:
    """Whether the count may be about to be reset.

    Fulfilment announces a reset in the licence's metadata and then resets. A batch that was read
    in between would look unapplied after the reset, so nothing is sent until that is over.
    """
    return seen.reset_at is not None and seen_at < seen.reset_at + SETTLE_WAIT


def fit_pages(counts: Sequence[int], facts: LicenceFacts) -> int:
    """How many of the waiting entries, from the first on, the server will take.

    Its increments are all or nothing. The others wait for the next month, which drops them.
    """
    if facts.max_uses is None:
        return len(counts)
    sums = accumulate(counts, initial=facts.uses)
    return sum(1 for total in sums if total <= facts.max_uses) - (facts.uses <= facts.max_uses)


def _warning(percent: int, used: int, cap: int, resets: datetime | None) -> Notice:
    until = f" until {say_day(resets)}" if resets else ""
    return Notice(
        f"pages-{percent}-percent", f"{used:,} of {cap:,} pages are used this month{until}."
    )
