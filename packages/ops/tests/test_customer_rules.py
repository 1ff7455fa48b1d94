"""What names a customer, what fits a quoted key, what support is advised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted_secrets import licence_key

from shimmy_ops.cli.customer_lines import customer_lines
from shimmy_ops.domain.customers.advice import advise
from shimmy_ops.domain.customers.erasing import (
    PersonFound,
    left_by_hand,
    plan_erasure,
    refuse_running,
)
from shimmy_ops.domain.customers.facts import (
    BillingFacts,
    BillingRecord,
    CustomerFacts,
    HeldLicence,
    LicenceFacts,
    PaymentFacts,
    StoreFacts,
    SubscriptionFacts,
    read_licence_facts,
)
from shimmy_ops.domain.customers.key_masks import KeyMask, mask_key, parse_mask
from shimmy_ops.domain.customers.receipts import (
    ErasureReceipt,
    address_digest,
    begun_since,
    find_open,
)
from shimmy_ops.domain.customers.sought import (
    SoughtAddress,
    SoughtId,
    SoughtKey,
    mask_address,
    parse_person,
    parse_sought,
)
from shimmy_ops.errors import CustomerError
from shimmy_ops.use_cases.lookup_customer import LookedUp

# Written in one piece it would look like somebody's.
KEY = "-".join(["1A2B3C", "4D5E6F", "778899", "AABBCC", "DDEEFF", "V3"])
NOW = datetime(2027, 1, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("quoted", "fits"),
    [
        ("1A2B3C…", True),
        ("1a2b3c-…-ddeeff-v3", True),
        ("1A2B3C ... DDEEFF V3", True),
        ("****-DDEEFF-V3", True),
        ("…7788…", True),
        ("1A2B**AABB****V3", True),
        ("778899", True),
        (f"{KEY}…", True),
        ("4D5E6F…", False),
        ("…4D5E6F", False),
        ("1A2B3C…1A2B3C…", False),
        ("DDEEFF…1A2B3C", False),
        ("1A2B3D…", False),
    ],
)
def test_a_quoted_key_fits_what_it_shows(quoted: str, *, fits: bool) -> None:
    assert parse_mask(quoted).matches(KEY) is fits


@given(st.lists(st.integers(0, 37), min_size=2, max_size=6, unique=True), st.integers(0, 999))
def test_every_key_fits_whatever_of_it_is_left_out(cuts: list[int], seed: int) -> None:
    key = licence_key(str(seed))
    first, *_, last = sorted(cuts)
    quoted = f"{key[:first]}…{key[last:]}"
    known = len(quoted.replace("-", "").removesuffix("V3").replace("…", ""))
    if known < 4 or "…" not in quoted:
        return
    assert parse_mask(quoted).matches(key)
    assert parse_mask(mask_key(key)).matches(key)


@pytest.mark.parametrize("quoted", ["…", "*V3", "1A2…", "…-V3", "", "V3", "1A-2…V3"])
def test_too_little_of_a_key_is_refused(quoted: str) -> None:
    with pytest.raises(CustomerError) as refused:
        parse_mask(quoted)
    assert refused.value.code == "key-too-short"


def test_pieces_of_a_mask_never_share_a_character() -> None:
    assert not KeyMask(("1A2B3C", "3C4D")).matches("1A2B3C4D")
    assert KeyMask(("1A2B", "3C4D")).matches("1A2B3C4D")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cus_Ab1", SoughtId("customer", "cus_Ab1")),
        ("cs_test_a1", SoughtId("session", "cs_test_a1")),
        ("sub_1x", SoughtId("subscription", "sub_1x")),
        (
            "06AFCBE1-c09e-54ec-95cc-52f980e8a3ee",
            SoughtId("licence", "06afcbe1-c09e-54ec-95cc-52f980e8a3ee"),
        ),
        (" Ada@Example.com\n", SoughtAddress("Ada@Example.com")),
        ("1A2B…", SoughtKey(KeyMask(("1A2B", "")))),
    ],
)
def test_what_support_was_given_is_recognised(text: str, found: object) -> None:
    assert parse_sought(text, visible=True) == found


@pytest.mark.parametrize("text", [KEY, KEY.lower(), KEY.replace("-", ""), "key/" + "a" * 30 + ".b"])
def test_a_whole_key_is_taken_from_standard_input_alone(text: str) -> None:
    with pytest.raises(CustomerError) as refused:
        parse_sought(text, visible=True)
    assert refused.value.code == "key-in-arguments"
    assert text not in refused.value.message + refused.value.hint
    sought = parse_sought(text, visible=False)
    assert isinstance(sought, SoughtKey)
    assert sought.mask.matches(text)
    assert not sought.mask.matches(licence_key("other"))


@pytest.mark.parametrize(
    "text",
    [
        "hello world!",
        "in_123",
        "a@b@c",
        "ä€",
        "a\udcff@b.example",
        "a\x1b[2J@b.example",
        "cus_\u0661",
    ],
)
def test_what_names_nobody_is_refused(text: str) -> None:
    with pytest.raises(CustomerError):
        parse_sought(text, visible=True)
    with pytest.raises(CustomerError):
        parse_person(text)


def test_an_address_is_shown_by_its_first_letter() -> None:
    assert mask_address("ada@example.com") == "a***@example.com"
    assert mask_address("ada") == "***"


def _licence(**changes: Any) -> LicenceFacts:
    given: dict[str, Any] = {
        "id": "l1",
        "key": "1A2B3C-…-V3",
        "plan": "developer",
        "state": "ACTIVE",
        "suspended": False,
        "access": True,
        "expiry": None,
        "machines": (),
        "machine_limit": 1,
        "pages": 0,
        "page_limit": 100,
    }
    return LicenceFacts(**{**given, **changes})


def _store(**changes: Any) -> StoreFacts:
    given: dict[str, Any] = {
        "plan": "developer",
        "merged_into": None,
        "erased": None,
        "look_again": None,
    }
    return StoreFacts(**{**given, **changes})


def _payment(**changes: Any) -> PaymentFacts:
    given: dict[str, Any] = {
        "id": "ch_1",
        "created": 0,
        "amount": 900,
        "currency": "usd",
        "paid": True,
        "refunded": 0,
        "disputed": False,
        "failure": "",
    }
    return PaymentFacts(**{**given, **changes})


def _billing(status: str = "active", **changes: Any) -> BillingFacts:
    given: dict[str, Any] = {
        "deleted": False,
        "subscriptions": (SubscriptionFacts("sub_1", status, 0, None),),
        "payments": (_payment(),),
    }
    return BillingFacts(**{**given, **changes})


NO_ACCESS = (_licence(access=False, suspended=True),)
WELL: Mapping[str, Any] = {
    "customer": "cus_1",
    "addresses": (),
    "store": _store(),
    "billing": _billing(),
    "licences": (_licence(),),
}


@pytest.mark.parametrize(
    ("otherwise", "codes"),
    [
        ({}, ["nothing-wrong"]),
        ({"licences": ()}, ["paid-no-licence"]),
        ({"licences": NO_ACCESS}, ["paid-no-access"]),
        ({"store": None}, ["not-in-store"]),
        ({"licences": (_licence(), _licence(id="l2"))}, ["several-licences"]),
        ({"customer": "", "store": None, "billing": None}, ["licence-of-nobody"]),
        ({"store": _store(merged_into="cus_2")}, ["merged"]),
        ({"store": _store(erased="x"), "billing": None, "licences": NO_ACCESS}, ["erased"]),
        ({"store": _store(erased="x")}, ["erased-not-ended"]),
        (
            {"licences": NO_ACCESS, "billing": _billing(payments=(_payment(refunded=900),))},
            ["refunded"],
        ),
        (
            {"licences": NO_ACCESS, "billing": _billing(disputes=(("dp", "needs_response"),))},
            ["disputed"],
        ),
        (
            {"licences": NO_ACCESS, "billing": _billing(disputes=(("dp", "lost"),))},
            ["dispute-lost"],
        ),
        ({"licences": NO_ACCESS, "billing": _billing("past_due")}, ["unpaid"]),
        ({"licences": NO_ACCESS, "billing": _billing("canceled")}, ["ended"]),
        ({"licences": (_licence(machines=("linux a…",)),)}, ["machines-full"]),
        ({"licences": (_licence(machines=("a",), machine_limit=None),)}, ["nothing-wrong"]),
        ({"licences": (_licence(pages=100),)}, ["pages-used"]),
        ({"store": _store(parked_messages=(("m 1", "mail-refused"),))}, ["mail-parked"]),
        ({"store": _store(parked_events=(("evt_1", ""),))}, ["event-parked"]),
        ({"store": _store(events={"pending": 1})}, ["event-waits"]),
        ({"store": _store(messages={"waiting": 1})}, ["mail-waits"]),
        ({"store": _store(alarms=(("partial-refund", "ch_1/1"),))}, ["alarm"]),
        ({"billing": _billing(open_invoices=("in_1",))}, ["invoice-open"]),
        (
            {"billing": _billing(payments=(_payment(paid=False, failure="card_declined"),))},
            ["payment-failed"],
        ),
        ({"billing": BillingFacts(deleted=True)}, ["deleted-with-access"]),
        (
            {
                "licences": (),
                "billing": BillingFacts(deleted=False, payments=(_payment(once=True),)),
            },
            ["paid-no-licence"],
        ),
        ({"licences": (), "billing": BillingFacts(deleted=False)}, ["nothing-wrong"]),
    ],
)
def test_support_is_advised(otherwise: Mapping[str, Any], codes: list[str]) -> None:
    facts = CustomerFacts(**{**WELL, **otherwise})
    found = advise(facts, "https://store.example.com")
    assert [one.code for one in found] == codes
    assert all(one.text for one in found)


def _person(**changes: Any) -> PersonFound:
    licence = {"id": "l1", "suspended": False, "expiry": None, "name": "Ada", "metadata": {}}
    given: dict[str, Any] = {
        "customer": "cus_1",
        "members": ("cus_1",),
        "ledger": {
            "tables": {"customers": [{"customer": "cus_1", "email": "a@x", "erased": None}]}
        },
        "billing": {"cus_1": BillingRecord({"id": "cus_1", "email": "a@x"})},
        "licences": (HeldLicence({**licence, "metadata": {"plan": "p", "note": "Ada"}}),),
    }
    return PersonFound(**{**given, **changes})


def test_access_ends_first_and_the_ledger_forgets_last() -> None:
    steps = plan_erasure(_person())
    assert [one.kind for one in steps] == [
        "suspend-licence",
        "blank-licence",
        "delete-customer",
        "erase-ledger",
    ]
    assert steps[1].kept == {"plan": "p"}
    assert all(one.id in one.told for one in steps)


def test_nothing_is_left_of_who_is_forgotten_unless_an_address_comes_back() -> None:
    row = {"customer": "cus_1", "email": "", "erased": "2027-01-01"}
    gone = _person(
        ledger={"tables": {"customers": [row], "outbox": [{"facts": '{"email":"A@x"}'}]}},
        billing={"cus_1": BillingRecord({"id": "cus_1", "deleted": True})},
        licences=(),
    )
    assert plan_erasure(gone) == []
    assert [one.kind for one in plan_erasure(gone, frozenset({"a@X"}))] == ["erase-ledger"]


def test_a_user_at_keygen_is_left_to_a_person() -> None:
    owned = {"id": "l1", "suspended": True, "owner": "u1", "metadata": {}}
    assert "user u1" in left_by_hand(_person(licences=(HeldLicence(owned),)))[0]
    assert left_by_hand(_person()) == []


def test_what_still_runs_is_named() -> None:
    running = BillingRecord({"id": "cus_1"}, ({"id": "sub_1", "status": "past_due"},))
    with pytest.raises(CustomerError) as refused:
        refuse_running(_person(billing={"cus_1": running}), NOW)
    assert "l1, sub_1" in refused.value.message
    over = {"id": "l1", "suspended": False, "expiry": "2027-01-14T00:00:00.000Z"}
    refuse_running(_person(licences=(HeldLicence(over),)), NOW)


def test_an_open_erasure_is_found_by_its_address_and_a_finished_one_is_not() -> None:
    begun = ErasureReceipt(
        "cus_1", ("cus_1",), "test", "x", salt="s", address=address_digest("s", "Ada@x.example")
    )
    assert find_open([begun], " ada@X.example") == "cus_1"
    assert find_open([begun], "bob@x.example") is None
    done = ErasureReceipt("cus_1", ("cus_1",), "test", "x", finished="y")
    assert find_open([done], "ada@x.example") is None


def test_what_a_machine_says_of_itself_steers_no_terminal() -> None:
    hostile = "\x1b]0;owned\x07\x1b[2K\u202enothing"
    machine = {"platform": hostile, "fingerprint": "\x1b[2Jabcdef"}
    licence = {
        "id": "1", "key": KEY, "status": "ACTIVE", "suspended": False, "expiry": None,
        "maxMachines": 1, "uses": 0, "maxUses": None,
    }  # fmt: skip
    facts = read_licence_facts(HeldLicence(licence, (machine,)), datetime.now(UTC))
    assert facts.machines[0].isprintable()
    assert "owned" in facts.machines[0]
    failed = PaymentFacts(
        "ch_1", 0, 1200, "usd", paid=False, refunded=0, disputed=False, failure=hostile
    )
    billing = BillingFacts(deleted=False, payments=(failed,))
    found = LookedUp(CustomerFacts("cus_1", (f"a@{hostile}",), None, billing, (facts,)), ())
    assert all(line.isprintable() for line in customer_lines(found, str))


def test_a_restore_erases_again_only_whom_the_store_had_forgotten() -> None:
    made = "2027-01-10T00:00:00.000001+00:00"
    begun = ErasureReceipt("cus_1", ("cus_1",), "live", made)
    taken = replace(begun, steps=("end-subscription sub_1", "erase-ledger cus_1"))
    before = replace(taken, finished="2027-01-09T23:59:59+00:00")
    after = replace(taken, finished="2027-01-10T00:00:00.000001+00:00")
    ended = replace(begun, steps=("end-subscription sub_1",))
    assert begun_since([begun, ended, taken, before, after], made) == (taken, after)
