"""What customers are told: of everything once, of nothing that is not so, and never a key."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import get_args

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from ledger_places import in_memory, waiting
from purchases_made import DAY, MONTH, NOW, PURCHASES, bought, lifetime, subscription
from stand_ins import Works

from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.domain.catalog import PLAN_IDS, PlanId
from shimmy_store.domain.fulfilment import GRACE, Licence, decide_fulfilment
from shimmy_store.domain.notices import Notice, NoticeKind, Told, decide_notices
from shimmy_store.domain.purchases import Payment, Purchases, Reversal, Subscription
from shimmy_store.use_cases.fulfil_customer import fulfil_customer

NOTHING = Told(None, 0)
REFUNDED, DISPUTED = Reversal(refunded="fully"), Reversal(dispute="open")


def licence(purchases: Purchases, now: datetime = NOW) -> Licence:
    found = decide_fulfilment(purchases, now).licence
    assert found is not None
    return found


def told_of(
    *parts: Subscription | Payment, told: Told = NOTHING, now: datetime = NOW
) -> tuple[Notice, ...]:
    purchases = bought("cus_1", *parts)
    return decide_notices(purchases, licence(purchases, now), told, now)


def kinds(notices: Iterable[Notice]) -> list[NoticeKind]:
    return [one.kind for one in notices]


def keys(notices: Iterable[Notice]) -> set[str]:
    return {one.key for one in notices}


def test_a_licence_is_told_of_under_its_own_id() -> None:
    for part in (subscription(), lifetime()):
        found = licence(bought("cus_1", part))
        (notice,) = told_of(part)
        assert (notice.key, notice.kind) == (f"licence/{found.id}", "licence")
        assert notice.facts == {"licence": str(found.id), "plan": part.plan}


def test_a_plan_change_is_told_with_what_was_before() -> None:
    startup = subscription(plan="startup")
    found = licence(bought("cus_1", startup))
    first, changed = told_of(startup, told=Told("developer", 3))
    assert first.kind == "licence"
    assert (changed.key, changed.kind) == (f"plan-changed/{found.id}/4", "plan-changed")
    assert changed.facts == {"licence": str(found.id), "plan": "startup", "before": "developer"}
    assert kinds(told_of(startup, told=Told("startup", 4))) == ["licence"]
    assert kinds(told_of(startup, told=Told(None, 0))) == ["licence"]


def test_a_failed_renewal_is_told_with_the_end_of_grace_and_then_its_end() -> None:
    through = NOW - DAY
    owing = subscription("past_due", through=through)
    _, failed = told_of(owing)
    assert (failed.key, failed.kind) == (
        (f"renewal-failed/sub_1/{through.isoformat()}", "renewal-failed")
    )
    assert failed.facts["until"] == (through + GRACE).isoformat()
    for status in ("past_due", "unpaid"):
        over = told_of(replace(owing, status=status), now=through + GRACE)
        assert kinds(over) == ["renewal-failed", "cancelled"]
        assert over[0].key == failed.key
        assert over[1].key == f"cancelled/sub_1/unpaid/{through.isoformat()}"
        assert over[1].facts["reason"] == "unpaid"
    month_later = told_of(replace(owing, paid_through=through + MONTH), now=NOW + MONTH)
    assert not keys(month_later) & {failed.key}, "another month is another failure"


def test_a_failed_renewal_is_told_although_an_end_is_set_for_later() -> None:
    """Access goes with the month that was paid, sooner than the end that was told."""
    through, ends = NOW - DAY, NOW + 60 * DAY
    owing = subscription("past_due", through=through, ends=ends)
    assert kinds(told_of(owing)) == ["licence", "cancelled", "renewal-failed"]
    over = told_of(owing, now=through + GRACE)
    assert [one.facts["reason"] for one in over if one.kind == "cancelled"] == (
        ["cancelled", "unpaid"]
    )


def test_nothing_fails_to_renew_that_ends_with_its_month() -> None:
    owing = subscription("past_due", ends=NOW + 20 * DAY)
    assert kinds(told_of(owing)) == ["licence", "cancelled"]
    assert kinds(told_of(owing, now=NOW + 20 * DAY)) == ["cancelled"]


@pytest.mark.parametrize("at_the_end", ["active", "canceled"])
def test_a_planned_cancellation_and_its_end_are_one_mail(at_the_end: str) -> None:
    ends = NOW + 20 * DAY
    planned = subscription(ends=ends)
    _, before = told_of(planned)
    assert (before.key, before.kind) == (f"cancelled/sub_1/{ends.isoformat()}", "cancelled")
    assert (before.facts["reason"], before.facts["ends"]) == ("cancelled", ends.isoformat())
    ended = replace(planned, status=at_the_end)  # type: ignore[arg-type]
    for now in (ends, ends + 90 * DAY):
        (after,) = told_of(ended, now=now, told=Told("developer", 0))
        assert after == replace(before, facts=after.facts)


def test_an_end_at_once_is_told_with_the_month_that_is_left() -> None:
    _, told = told_of(subscription("canceled"))
    assert told.facts["ends"] == (NOW + 20 * DAY).isoformat()


def test_an_end_moved_elsewhere_is_told_anew() -> None:
    sooner, later = (told_of(subscription(ends=NOW + days * DAY))[1] for days in (20, 50))
    assert sooner.key != later.key
    assert kinds(told_of(subscription())) == ["licence"], "and one taken back is none"


@pytest.mark.parametrize(("reversal", "reason"), [(REFUNDED, "refunded"), (DISPUTED, "disputed")])
def test_money_that_went_back_is_told_with_its_reason(reversal: Reversal, reason: str) -> None:
    for part in (subscription(reversal=reversal), lifetime(reversal)):
        (notice,) = told_of(part, told=Told("enterprise", 0))
        assert (notice.kind, notice.facts["reason"]) == ("cancelled", reason)
        assert notice.key.startswith(f"cancelled/{part.id}/{reason}")


def test_every_month_that_is_refunded_is_told_of() -> None:
    refunded = subscription(reversal=REFUNDED, age=90 * DAY)
    through = NOW + 50 * DAY
    later = replace(refunded, paid_from=through - MONTH, paid_through=through)
    assert keys(told_of(refunded)) != keys(told_of(later))


def test_one_dispute_is_told_once_though_months_go_on() -> None:
    disputed = subscription(reversal=DISPUTED)
    through = NOW + 50 * DAY
    later = replace(disputed, paid_from=through - MONTH, paid_through=through)
    assert keys(told_of(disputed)) == keys(told_of(later))


def test_a_subscription_ended_for_another_one_is_not_told_as_cancelled() -> None:
    older = subscription(name="sub_1", age=20 * DAY)
    for newer in (subscription(name="sub_2", age=DAY), lifetime()):
        ended = replace(older, status="canceled", ends=NOW)
        for first in (older, replace(older, status="canceled"), ended):
            assert kinds(told_of(first, newer, told=Told(newer.plan, 0))) == ["licence"]


def test_the_facts_are_kept_in_one_writing() -> None:
    notice = Notice("key", "licence", {"plan": "startup", "before": "developer"})
    assert notice.written() == '{"before": "developer", "plan": "startup"}'
    assert "startup" not in repr(notice)


def test_a_plan_going_to_and_fro_is_told_each_time() -> None:
    """Through the use case that keeps what was told, and the outbox that keeps each key once."""

    async def story(ledger: SqlLedger) -> None:
        works = Works(ledger, NOW)
        plans: list[PlanId] = ["developer", "startup", "developer", "startup", "startup"]
        for plan in plans:
            works.till.bought["cus_1"] = bought("cus_1", subscription(plan=plan))
            for _ in range(2):
                assert await fulfil_customer("cus_1", works.fulfilment()) == "settled"
        messages = await ledger.take_messages(NOW, NOW, 100)
        assert kinds(one.notice for one in messages) == ["licence", *["plan-changed"] * 3]
        assert [one.notice.facts["plan"] for one in messages] == plans[:4]
        assert [one.notice.facts.get("before") for one in messages] == [None, *plans[:3]]

    in_memory().tell(story)


def test_a_plan_that_never_gave_access_is_not_told_as_the_one_before() -> None:
    async def story(ledger: SqlLedger) -> None:
        works = Works(ledger, NOW)
        states: list[tuple[PlanId, Reversal]] = [
            ("developer", Reversal()),
            ("startup", REFUNDED),
            ("developer", Reversal()),
            ("startup", REFUNDED),
            ("startup", Reversal()),
        ]
        for plan, reversal in states:
            part = subscription(plan=plan, reversal=reversal)
            works.till.bought["cus_1"] = bought("cus_1", part)
            await fulfil_customer("cus_1", works.fulfilment())
        messages = await ledger.take_messages(NOW, NOW, 100)
        assert kinds(one.notice for one in messages) == ["licence", "cancelled", "plan-changed"]
        assert messages[-1].notice.facts["before"] == "developer"

    in_memory().tell(story)


def test_no_key_of_a_licence_gets_into_the_outbox() -> None:
    async def story(ledger: SqlLedger) -> None:
        works = Works(ledger, NOW)
        works.till.bought["cus_1"] = bought("cus_1", subscription())
        await fulfil_customer("cus_1", works.fulfilment())
        (issued,) = works.cabinet.issued.values()
        assert issued.key
        (message,) = await ledger.take_messages(NOW, NOW, 10)
        assert issued.key not in message.notice.key + message.notice.written()
        assert await waiting(ledger) == [f"licence/{issued.id}"]

    in_memory().tell(story)


PLANS = st.none() | st.sampled_from(PLAN_IDS)


def advanced(told: Told, found: Licence) -> Told:
    """What is kept as told, as fulfilment keeps it."""
    if found.suspended is not None:
        return told
    changed = told.plan not in (None, found.plan)
    return Told(found.plan, told.changes + changed)


@settings(max_examples=500)
@given(PURCHASES, PLANS, st.integers(0, 3))
def test_told_once_there_is_nothing_new_to_tell(
    purchases: Purchases, plan: PlanId | None, changes: int
) -> None:
    found = decide_fulfilment(purchases, NOW).licence
    assume(found is not None)
    assert found is not None
    told = Told(plan, changes)
    first = decide_notices(purchases, found, told, NOW)
    assert len(keys(first)) == len(first)
    again = decide_notices(purchases, found, advanced(told, found), NOW)
    assert keys(again) <= keys(first)
    assert {one for one in kinds(first) if one != "plan-changed"} == set(kinds(again))


@settings(max_examples=500)
@given(PURCHASES, st.timedeltas(timedelta(0), 120 * DAY))
def test_time_alone_brings_only_ends_and_what_comes_after_them(
    purchases: Purchases, span: timedelta
) -> None:
    before = decide_fulfilment(purchases, NOW).licence
    after = decide_fulfilment(purchases, NOW + span).licence
    assume(before is not None)
    assert before is not None and after is not None
    told = advanced(NOTHING, before)
    first = decide_notices(purchases, before, told, NOW)
    later = decide_notices(purchases, after, told, NOW + span)
    new = [one for one in later if one.key not in keys(first)]
    if after.source == before.source:
        # The renewal turns out to have failed, and then the days of grace are over.
        assert set(kinds(new)) <= {"renewal-failed", "cancelled"}
        ends = [one.key.split("/")[:3] for one in new if one.kind == "cancelled"]
        assert ends in ([], [["cancelled", before.source, "unpaid"]])
        assert not ends or after.suspended == "unpaid"
    for one in new:
        # Where another purchase takes over, its buyer is told of the licence again.
        again = one.kind in ("plan-changed", "licence") and after.source != before.source
        assert again or one.kind == "plan-changed" or f"/{after.source}/" in one.key


@settings(max_examples=500)
@given(PURCHASES, PLANS)
def test_what_is_told_holds_plans_dates_and_reasons_and_nothing_else(
    purchases: Purchases, plan: PlanId | None
) -> None:
    found = decide_fulfilment(purchases, NOW).licence
    assume(found is not None)
    assert found is not None
    ids = {one.id for one in purchases.subscriptions} | {one.id for one in purchases.payments}
    for notice in decide_notices(purchases, found, Told(plan, 0), NOW):
        facts = dict(notice.facts)
        assert uuid.UUID(facts.pop("licence")) == found.id
        assert {facts.pop("plan"), facts.pop("before", found.plan)} <= set(PLAN_IDS)
        assert facts.pop("reason", "cancelled") in (
            "cancelled",
            "unpaid",
            "refunded",
            "disputed",
            "in-reserve",
        )
        for name in ("ends", "until"):
            datetime.fromisoformat(facts.pop(name, NOW.isoformat()))
        assert facts == {}
        kind, about, *_ = notice.key.split("/")
        assert kind == notice.kind
        assert kind in get_args(NoticeKind)
        assert about in ids | {str(found.id)}


@settings(max_examples=500)
@given(PURCHASES, PLANS)
def test_a_suspended_licence_is_not_told_as_one_to_use(
    purchases: Purchases, plan: PlanId | None
) -> None:
    found = decide_fulfilment(purchases, NOW).licence
    assume(found is not None)
    assert found is not None
    told = kinds(decide_notices(purchases, found, Told(plan, 0), NOW))
    if found.suspended is None:
        assert told[0] == "licence"
    else:
        assert not {"licence", "plan-changed"} & set(told)


@settings(max_examples=500)
@given(PURCHASES)
def test_no_mail_is_about_a_subscription_ended_while_the_licence_rests_on_another(
    purchases: Purchases,
) -> None:
    decision = decide_fulfilment(purchases, NOW)
    found = decision.licence
    assume(found is not None)
    assert found is not None
    ended = replace(
        purchases,
        subscriptions=tuple(
            replace(one, status="canceled", ends=NOW) if one.id in decision.cancel else one
            for one in purchases.subscriptions
        ),
    )
    for state in (purchases, ended):
        for notice in decide_notices(state, found, NOTHING, NOW):
            about = notice.key.split("/")[1]
            assert about == found.source or about not in decision.cancel
