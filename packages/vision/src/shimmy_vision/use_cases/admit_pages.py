"""The gate: no licence, no analysis; no page left, no analysis."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, overload

from shimmy_vision.domain.licence.access import Granted, Notice
from shimmy_vision.domain.licence.contact import decide_contact
from shimmy_vision.domain.licence.metering import judge_pages
from shimmy_vision.domain.licence.refusals import Refused
from shimmy_vision.errors import LicenceStateError
from shimmy_vision.ports.licence_state import LicenceRecord, Pages
from shimmy_vision.ports.licensing import OTHERS_WAIT, Licensing
from shimmy_vision.use_cases.choose_key import choose_key
from shimmy_vision.use_cases.confirm_licence import confirm_licence
from shimmy_vision.use_cases.read_standing import Standing, read_standing
from shimmy_vision.use_cases.refuse_access import refuse_access
from shimmy_vision.use_cases.use_sound_state import use_sound_state

_NOT_ON_DISK = Notice(
    "licence-not-on-disk",
    "The disk with the licence record takes no more: pages are counted from memory until it does. "
    "Free some space.",
)


@dataclass(frozen=True, slots=True)
class Admission:
    """Leave to analyse ``pages``, which must be committed or released, whatever happens.

    ``metered`` is False where the plan has no cap, and where the pages are counted already: then
    nothing is reserved.
    """

    granted: Granted
    key: str = field(repr=False)
    pages: Pages
    metered: bool


@dataclass(frozen=True, slots=True)
class _Asked:
    """Pages that want to pass, under the id that they will have.

    ``elsewhere`` tells for a licence key whether another machine has counted them.
    """

    id: str
    count: int
    elsewhere: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class _AskFirst:
    """The server is to be asked before this is answered; ``record`` is as it was judged."""

    record: LicenceRecord
    granted: bool


def admit_pages(count: int, licensing: Licensing, key: str = "") -> Admission:
    """Pass the gate for ``count`` pages and reserve them.

    Pages with a ``key`` may have come under it before: what was reserved then is void, and what
    was counted is not counted again. Without one they are new.
    Asks the licence server only where ``decide_contact`` says so. Raises LicenceError with reason
    and remedy, LicenceStateError when what is kept cannot be read or written.
    """
    named = key or uuid.uuid4().hex
    # New pages are nowhere else.
    asked = _Asked(named, count, lambda one: bool(key) and licensing.claims.taken(one, named))
    return use_sound_state(
        licensing,
        lambda: _admit_on_any_disk(choose_key(licensing), asked, licensing),
        key_at_hand=licensing.given_key is not None,
    )


def _admit_on_any_disk(key: str, asked: _Asked, licensing: Licensing) -> Admission:
    try:
        licensing.state.try_disk_again(key)
        return _admit(key, asked, licensing)
    except LicenceStateError as error:
        if error.code != "licence-state-not-written" or not licensing.state.durable:
            raise
        # A full disk is no reason to refuse a licence that is good: go on without one.
        licensing.state.leave_disk()
        return _admit(key, asked, licensing)


def _admit(key: str, asked: _Asked, licensing: Licensing) -> Admission:
    answer = _judge(key, asked, licensing, may_ask=True)
    if isinstance(answer, _AskFirst):
        # Whoever may go on anyway does not wait for another process that is asking.
        wait = 0 if answer.granted else OTHERS_WAIT
        confirm_licence(key, licensing, judged=answer.record, wait=wait)
        answer = _judge(key, asked, licensing, may_ask=False)
    if isinstance(answer, Admission):
        return answer
    raise refuse_access(answer, licensing)


@overload
def _judge(
    key: str, asked: _Asked, licensing: Licensing, *, may_ask: Literal[False]
) -> Admission | Refused: ...


@overload
def _judge(
    key: str, asked: _Asked, licensing: Licensing, *, may_ask: Literal[True]
) -> Admission | Refused | _AskFirst: ...


def _judge(
    key: str, asked: _Asked, licensing: Licensing, *, may_ask: bool
) -> Admission | Refused | _AskFirst:
    now = licensing.now()
    # Before the session, which others wait for.
    elsewhere = asked.elsewhere(key)
    with licensing.state.session(key) as session:
        counted = elsewhere or session.is_counted(asked.id)
        session.release(asked.id)
        left = 0 if counted else asked.count
        standing = read_standing(session, key, licensing, now)
        pages = _judge_cap(standing, left, licensing, now)
        if isinstance(pages, Refused) and session.release_orphans(now):
            standing = read_standing(session, key, licensing, now)
            pages = _judge_cap(standing, left, licensing, now)
        tried, capped = standing.record.tried, isinstance(pages, Refused)
        if may_ask and decide_contact(
            standing.evidence, standing.access, tried, now, cap_reached=capped
        ):
            return _AskFirst(standing.record, isinstance(standing.access, Granted) and not capped)
        if isinstance(standing.access, Refused):
            return standing.access
        if isinstance(pages, Refused):
            return pages
        # The server's clock where it is ahead: a page must not fall into a month before it began.
        moment = max(standing.evidence.latest_seen, now)
        session.update(latest_seen=moment)
        reserved = Pages(asked.id, asked.count, moment)
        metered = _is_metered(standing) and not counted
        if metered:
            session.reserve(reserved)
        memory = (_NOT_ON_DISK,) if licensing.state.left_disk else ()
        notices = (*standing.access.notices, *pages, *memory)
        return Admission(replace(standing.access, notices=notices), key, reserved, metered)


def _judge_cap(
    standing: Standing, count: int, licensing: Licensing, now: datetime
) -> Refused | tuple[Notice, ...]:
    proof = standing.evidence.proof
    if proof is None or not count:
        return ()
    return judge_pages(proof, standing.usage, count, licensing.licensor, now)


def _is_metered(standing: Standing) -> bool:
    proof = standing.evidence.proof
    return proof is not None and proof.facts.max_uses is not None
