"""What a live transaction decides: the next step, what each must see, what a receipt proves."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from account_model import desired
from hypothesis import given
from hypothesis import strategies as st

from shimmy_ops.domain.contracts import Offer, Plan
from shimmy_ops.domain.transaction.checks import (
    GRACE,
    Verdict,
    check_analysis,
    check_delivery,
    check_ended,
    check_licence,
    check_machines,
    check_mail,
    check_nothing_left,
    check_paid,
    check_portal,
    check_refund,
    check_refusal,
    check_session,
    check_suspended,
)
from shimmy_ops.domain.transaction.choosing import choose_terms, kept_terms
from shimmy_ops.domain.transaction.receipt import (
    STEPS,
    Outcome,
    Receipt,
    StepRecord,
    Way,
    check_receipt,
    describe_receipt,
    parse_receipt,
)
from shimmy_ops.domain.transaction.sequence import PATHS, decide_next
from shimmy_ops.domain.transaction.sightings import (
    HeardCustomer,
    HeardEvent,
    QueuedMessage,
    Remains,
    SeenCharge,
    SeenEvent,
    SeenLicence,
    SeenRefund,
    SeenSession,
    SeenSubscription,
    Terms,
    parse_heard,
)
from shimmy_ops.errors import ContractError, TransactionError

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
UNTIL = NOW + timedelta(days=30)
TERMS = Terms("developer", 1200, "usd", ("vision",), livemode=False)
SESSION = SeenSession(
    "cs_test_1", "complete", True, "subscription", 1200, "usd", False, NOW, ("developer",),
    "cus_1", "sub_1", email="Me@Shimmy.example",
)  # fmt: skip
CHARGE = SeenCharge("ch_1", 1200, 0, "usd", True, NOW)
EVENT = SeenEvent("evt_1", NOW, 0)
HEARD = HeardEvent("evt_1", "done", NOW + timedelta(seconds=1), NOW + timedelta(seconds=2))
MAIL = QueuedMessage("licence", "sent", NOW + timedelta(seconds=3))
CUSTOMER = HeardCustomer("sub_1", (HEARD,), (MAIL,), ())
LICENCE = SeenLicence(
    "id-1", "developer", "developer", "sub_1", NOW + timedelta(seconds=1.5), UNTIL + GRACE, UNTIL,
    False, ("vision",), (),
)  # fmt: skip
BOUGHT = SeenSubscription("sub_1", "active", UNTIL)
RESULT: dict[str, Any] = {
    **dict.fromkeys(("text_blocks", "layout", "visual", "interaction")),
    "meta": {"model": {"family": "4.6", "synthetic": False}, "duration_ms": 10},
}

_outcomes = st.sampled_from(get_args(Outcome))
_facts = st.dictionaries(
    st.text("abc_", min_size=1, max_size=8),
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["cus_1", "in_2", "a b"]),
    max_size=3,
)


@st.composite
def receipts(draw: st.DrawFn) -> Receipt:
    made = Receipt("ab12cd", "sandbox", "test", "0.1.0", "0.1.0", "developer", 1200, "usd", NOW)
    for step in draw(st.lists(st.sampled_from(STEPS), unique=True)):
        ended = draw(st.none() | st.just(NOW + timedelta(seconds=5)))
        record = StepRecord(
            step, NOW, ended, draw(_outcomes), draw(st.integers(1, 5)), draw(_facts)
        )
        made = made.with_step(record)
    return replace(made, way=draw(st.sampled_from(get_args(Way))))


@given(receipts(), st.sets(st.sampled_from(STEPS)))
def test_the_next_step_is_the_first_of_its_way_that_is_not_over(
    receipt: Receipt, passed: set[Any]
) -> None:
    step = decide_next(receipt, passed)
    records = {one.id: one for one in receipt.steps}
    unpaid = "paid" in records and records["paid"].outcome == "skipped"
    over = {name for name, one in records.items() if one.outcome in ("held", "skipped")}
    left = [one for one in PATHS[receipt.way] if one not in over and one not in passed]
    assert step == (None if unpaid or not left else left[0])


@given(receipts())
def test_steps_that_hold_one_after_the_other_come_to_an_end(receipt: Receipt) -> None:
    taken = []
    while (step := decide_next(receipt)) is not None:
        taken.append(step)
        receipt = receipt.with_step(StepRecord(step, NOW, NOW, "held"))
    assert len(taken) == len(set(taken))
    assert taken == sorted(taken, key=STEPS.index)


@given(receipts())
def test_abandoning_never_leaves_out_what_gives_the_money_back(receipt: Receipt) -> None:
    left = replace(receipt, way="abandoned").with_step(StepRecord("paid", NOW, NOW, "held"))
    while (step := decide_next(left)) is not None:
        left = left.with_step(StepRecord(step, NOW, NOW, "held"))
    for step in ("refunded", "ended", "suspended", "nothing-left"):
        record = left.step(step)  # type: ignore[arg-type]
        assert record is not None and record.over


@given(receipts())
def test_a_receipt_is_read_as_it_was_written(receipt: Receipt) -> None:
    assert parse_receipt(json.loads(json.dumps(describe_receipt(receipt)))) == receipt


@pytest.mark.parametrize(
    "private",
    [
        "me@shimmy.example",
        "https://checkout.stripe.com/c/pay/cs_live_1",
        "-".join(["ABCDEF", "012345", "6789AB", "CDEF01", "234567", "V3"]),
        "sk_" + "live_x",
        "key/" + "abc",
    ],
)
def test_what_is_private_is_not_written_down(private: str) -> None:
    record = StepRecord("paid", NOW, NOW, "failed", 1, {"it": private}, f"it was {private}")
    (step,) = describe_receipt(_whole().with_step(record))["steps"][1:2]
    assert (step["facts"]["it"], step["why"]) == ("(not written down)", "(not written down)")


def test_ids_are_written_down() -> None:
    ids = ("cs_test_a1B2", "32443670-4438-4509-8132-012345678901", "evt_1", "re_1,re_2")
    facts = {str(n): one for n, one in enumerate(ids)}
    record = StepRecord("paid", NOW, NOW, "held", 1, facts)
    assert describe_receipt(_whole().with_step(record))["steps"][1]["facts"] == facts


def _whole(**changes: Any) -> Receipt:
    facts: dict[Any, Any] = {
        "licence-issued": {"seconds_to_licence": 1.5},
        "mail-sent": {"seconds_to_mail": 2},
    }
    made = Receipt(
        "ab12cd", "sandbox", "test", "0.1.0", "0.1.0", "developer", 1200, "usd", NOW,
        NOW + timedelta(seconds=9), "held",
    )  # fmt: skip
    for step in STEPS:
        made = made.with_step(StepRecord(step, NOW, NOW, "held", 1, facts.get(step, {})))
    return replace(made, **changes)


def _damaged(**changes: Any) -> Any:
    return {**describe_receipt(_whole()), **changes}


STEP = describe_receipt(_whole())["steps"][0]


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        _damaged(format="other"),
        _damaged(version=2),
        _damaged(amount="12"),
        _damaged(amount=True),
        _damaged(began="yesterday"),
        _damaged(began="2026-11-26T04:11:44"),
        _damaged(outcome="fine"),
        _damaged(way="back"),
        _damaged(steps=[{}]),
        _damaged(steps=None),
        _damaged(steps=[{**STEP, "id": "slept"}]),
        _damaged(steps=[{**STEP, "facts": {"a": []}}]),
    ],
)
def test_a_damaged_receipt_is_refused(document: Any) -> None:
    with pytest.raises(TransactionError) as refused:
        parse_receipt(document)
    assert refused.value.code == "receipt-malformed"


HOUR = timedelta(hours=1)


def test_a_whole_receipt_proves_it() -> None:
    verified = check_receipt(_whole(), NOW + HOUR, HOUR)
    assert (verified.whole, verified.notes) == (True, ())
    assert (_whole().seconds_to_licence, _whole().seconds_to_mail) == (1.5, 2.0)
    assert _whole().name == "20261126T120000Z-ab12cd"


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("outcome", ["failed", "waiting", "skipped"])
def test_a_step_that_does_not_hold_proves_nothing(step: Any, outcome: Any) -> None:
    left = _whole().with_step(StepRecord(step, NOW, NOW, outcome))
    assert f"{step} is {outcome}" in check_receipt(left, NOW + HOUR, HOUR).problems
    whole = check_receipt(left, NOW + HOUR, HOUR, allow_skipped=True).whole
    assert whole == (step == "analysed" and outcome == "skipped")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"outcome": "abandoned"}, "it ended as abandoned"),
        ({"outcome": "open", "ended": None}, "it has no end"),
        ({"ended": NOW - timedelta(hours=2)}, "it is older than 1 hours"),
        ({"ended": NOW + timedelta(minutes=6)}, "it ended in the future: a clock is wrong"),
        ({"steps": ()}, "seconds_to_licence is not known"),
        ({"steps": ()}, "paid is missing"),
    ],
)
def test_anything_else_that_is_wrong_is_said(changes: dict[str, Any], said: str) -> None:
    assert said in check_receipt(_whole(**changes), NOW, HOUR).problems


def _wrong(verdict: Verdict, outcome: str, words: str) -> None:
    assert (verdict.outcome, words in verdict.why) == (outcome, True), verdict


def test_the_checkout_page_must_be_for_the_plan_in_the_right_mode() -> None:
    fresh = replace(SESSION, status="open", paid=False)
    assert check_session(fresh, TERMS).outcome == "held"
    for changes, words in (
        ({"livemode": True}, "other mode"),
        ({"mode": "payment"}, "for a payment"),
        ({"amount": 1300}, "asks for 1300 usd"),
        ({"currency": "eur"}, "asks for 1200 eur"),
        ({"lookup_keys": (None,)}, "not the plan's"),
        ({"lookup_keys": ("developer", "startup")}, "not the plan's"),
    ):
        _wrong(check_session(replace(fresh, **changes), TERMS), "failed", words)


def test_exactly_one_payment_of_the_price_counts() -> None:
    paid = check_paid(SESSION, [CHARGE], TERMS, "me@shimmy.example")
    assert (paid.outcome, paid.facts["own_mailbox"]) == ("held", True)
    assert check_paid(SESSION, [CHARGE], TERMS, "").facts["own_mailbox"] is None
    failed_before = replace(CHARGE, id="ch_0", paid=False)
    assert check_paid(SESSION, [failed_before, CHARGE], TERMS, "").facts["charge"] == "ch_1"
    _wrong(check_paid(replace(SESSION, status="open"), [], TERMS, ""), "waiting", "nobody")
    _wrong(check_paid(replace(SESSION, paid=False), [], TERMS, ""), "waiting", "nobody")
    _wrong(check_paid(SESSION, [], TERMS, ""), "waiting", "does not show")
    _wrong(check_paid(replace(SESSION, status="expired"), [], TERMS, ""), "failed", "expired")
    _wrong(check_paid(SESSION, [CHARGE, CHARGE], TERMS, ""), "failed", "more than one")
    _wrong(check_paid(SESSION, [replace(CHARGE, amount=5)], TERMS, ""), "failed", "Another amount")


def test_the_store_must_hear_of_the_payment_and_settle_it() -> None:
    told = check_delivery(EVENT, CUSTOMER, NOW)
    facts = {"event": "evt_1", "seconds_to_heard": 1.0, "seconds_to_settled": 2.0}
    assert (told.outcome, told.facts) == ("held", facts)
    _wrong(check_delivery(None, None, NOW), "waiting", "no event")
    _wrong(check_delivery(EVENT, None, NOW), "waiting", "not heard")
    other = replace(CUSTOMER, events=(replace(HEARD, id="evt_2"),))
    _wrong(check_delivery(EVENT, other, NOW), "waiting", "not heard")
    for state, outcome in (("pending", "waiting"), ("unknown", "waiting"), ("parked", "failed")):
        heard = replace(CUSTOMER, events=(replace(HEARD, state=state, settled=None),))
        assert check_delivery(EVENT, heard, NOW).outcome == outcome
    _wrong(check_delivery(replace(EVENT, pending=1), CUSTOMER, NOW), "waiting", "pending")


def test_the_licence_must_be_the_one_that_was_paid_for() -> None:
    fine = check_licence([LICENCE], TERMS, BOUGHT, NOW)
    assert (fine.outcome, fine.facts["seconds_to_licence"]) == ("held", 1.5)
    _wrong(check_licence([], TERMS, BOUGHT, NOW), "waiting", "no licence")
    _wrong(check_licence([LICENCE, LICENCE], TERMS, BOUGHT, NOW), "failed", "2 licences")
    for changes, words in (
        ({"policy_plan": "startup"}, "policy is another plan's"),
        ({"plan": "startup"}, "metadata names another plan"),
        ({"source": "sub_2"}, "another purchase"),
        ({"month_end": UNTIL + HOUR}, "not the one that Stripe billed"),
        ({"expiry": UNTIL}, "not the paid month and three days"),
        ({"expiry": None}, "not the paid month and three days"),
        ({"suspended": True}, "it is suspended"),
        ({"entitlements": ("other",)}, "lacks an entitlement"),
    ):
        wrong = replace(LICENCE, **changes)
        _wrong(check_licence([wrong], TERMS, BOUGHT, NOW), "failed", words)


def test_the_mail_must_have_gone_out() -> None:
    assert check_mail(CUSTOMER, NOW).facts == {"seconds_to_mail": 3.0}
    waits = replace(MAIL, state="waiting", sent=None)
    for messages in ((), (waits,), (replace(MAIL, kind="cancelled"),)):
        assert check_mail(replace(CUSTOMER, messages=messages), NOW).outcome == "waiting"
    assert check_mail(None, NOW).outcome == "waiting"
    parked = replace(CUSTOMER, messages=(replace(waits, state="parked"),))
    assert check_mail(parked, NOW).outcome == "failed"


def test_portal_machines_and_analysis_are_as_they_should() -> None:
    assert check_portal(200).outcome == "held"
    assert check_portal(503).outcome == "failed"
    one = replace(LICENCE, machines=("m-1",))
    assert check_machines([one], 1).facts == {"machines": 1, "machine": "m-1"}
    assert check_machines([one], 0).outcome == "failed"
    assert check_machines([], 0).outcome == "held"
    assert check_analysis(RESULT, livemode=True).outcome == "held"
    assert check_analysis({}, livemode=False).outcome == "failed"
    assert check_analysis({"meta": {}}, livemode=False).outcome == "failed"
    lacking = {name: value for name, value in RESULT.items() if name != "layout"}
    _wrong(check_analysis(lacking, livemode=False), "failed", "lacks layout")
    noise = {**RESULT, "meta": {"model": {"family": "4.6", "synthetic": True}}}
    assert check_analysis(noise, livemode=False).outcome == "held"
    _wrong(check_analysis(noise, livemode=True), "failed", "synthetic")


def test_all_of_the_money_must_be_back() -> None:
    back = replace(CHARGE, returned=1200)
    refund = SeenRefund("re_1", "succeeded", 1200)
    assert check_refund(back, [refund]).facts == {
        "refund": "re_1", "amount": 1200, "missing": 0,
    }  # fmt: skip
    again = [SeenRefund("re_0", "failed", 1200), refund]
    assert check_refund(back, again).outcome == "held"
    assert check_refund(CHARGE, []).facts["refund"] == ""
    _wrong(check_refund(CHARGE, [replace(refund, status="failed")]), "waiting", "not gone back")
    _wrong(check_refund(back, [replace(refund, status="pending")]), "waiting", "under way")
    half = [replace(refund, amount=600)]
    left = check_refund(replace(CHARGE, returned=600), half)
    _wrong(left, "waiting", "not gone back")
    assert left.facts["missing"] == 600


def test_access_ends() -> None:
    assert check_ended(replace(BOUGHT, status="canceled")).outcome == "held"
    assert check_ended(BOUGHT).outcome == "waiting"
    assert check_suspended([LICENCE], NOW).outcome == "waiting"
    assert check_suspended([LICENCE], UNTIL + GRACE).outcome == "held"
    assert check_suspended([replace(LICENCE, suspended=True)], NOW).outcome == "held"
    assert check_suspended([], NOW).outcome == "held"
    assert check_refusal("licence-suspended").outcome == "held"
    assert check_refusal("").outcome == "waiting"
    assert check_refusal("licence-unknown").outcome == "failed"


NOTHING = Remains(0, 0, 0)


def test_nothing_may_be_left_anywhere() -> None:
    assert check_nothing_left(NOTHING, [LICENCE], CUSTOMER, 0).outcome == "held"
    assert check_nothing_left(NOTHING, [], None, 0).outcome == "held"
    pending = replace(CUSTOMER, events=(replace(HEARD, state="pending"),))
    unsent = replace(CUSTOMER, messages=(replace(MAIL, state="waiting", sent=None),))
    for left in (
        check_nothing_left(Remains(1, 0, 0), [], CUSTOMER, 0),
        check_nothing_left(Remains(0, 1, 0), [], CUSTOMER, 0),
        check_nothing_left(NOTHING, [replace(LICENCE, machines=("m",))], CUSTOMER, 0),
        check_nothing_left(NOTHING, [], CUSTOMER, 1),
        check_nothing_left(NOTHING, [], pending, 0),
        check_nothing_left(NOTHING, [], unsent, 0),
    ):
        assert left.outcome == "waiting"
    parked_event = replace(CUSTOMER, events=(replace(HEARD, state="parked"),))
    parked_mail = replace(CUSTOMER, messages=(replace(MAIL, state="parked", sent=None),))
    for left in (
        check_nothing_left(Remains(0, 0, -1200), [], CUSTOMER, 0),
        check_nothing_left(NOTHING, [], parked_event, 0),
        check_nothing_left(NOTHING, [], parked_mail, 0),
    ):
        assert left.outcome == "failed"


def test_the_lowest_monthly_plan_is_bought() -> None:
    offer = desired().offer
    assert choose_terms(offer, livemode=True) == replace(TERMS, livemode=True)
    once = Plan("once", "Once", 1, False, None, 1, ("vision",))
    with pytest.raises(ContractError):
        choose_terms(Offer("usd", (once,), (), ""), livemode=False)
    dearer = replace(offer, plans=tuple(replace(one, unit_amount=9) for one in offer.plans))
    assert kept_terms(_whole(), dearer) == TERMS
    assert kept_terms(replace(_whole(), plan="gone", mode="live"), offer).livemode


def test_what_the_store_tells_is_read_or_refused() -> None:
    document = {
        "customer": "cus_1", "origin": None, "messages": [], "alarms": [],
        "events": [
            {"id": "evt_1", "state": "done", "received": NOW.isoformat(), "settled": None}
        ],
    }  # fmt: skip
    assert parse_heard([], "cus_1") is None
    assert parse_heard([document], "cus_2") is None
    heard = parse_heard([document], "cus_1")
    assert heard == HeardCustomer("", (HeardEvent("evt_1", "done", NOW, None),), (), ())
    shapes: list[Any] = [[{}], [None], [{**document, "events": None}]]
    for wrong in shapes:
        with pytest.raises(TransactionError):
            parse_heard(wrong, "cus_1")
