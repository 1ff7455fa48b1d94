"""The one decision every entry point passes, at every edge."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shimmy_vision.domain.licence.access import (
    NO_LICENCE,
    ROLLBACK_TOLERANCE,
    Granted,
    LicenceEvidence,
    decide_access,
)
from shimmy_vision.domain.licence.certificate import LicenceProof
from shimmy_vision.domain.licence.licence_facts import Denial
from shimmy_vision.domain.licence.licensor import Licensor
from shimmy_vision.domain.licence.pinned import PINNED
from shimmy_vision.domain.licence.refusals import Refused, explain_denial

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
KEY, FINGERPRINT = "0F4B2C-9D11E7-A3C5F8-77B0D2-C41E96-V3", "5a" * 32
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TICK = timedelta(microseconds=1)
LIVE = replace(
    PINNED,
    mode="live",
    api_url="https://api.example.com",
    pricing_url="https://example.com/pricing",
    portal_url="https://example.com/account",
)

MakeProof = Callable[..., LicenceProof]
MakeEvidence = Callable[..., LicenceEvidence]


@dataclass(frozen=True)
class Decide:
    """The decision on good evidence with some of it changed."""

    make_proof: MakeProof
    make_evidence: MakeEvidence

    def __call__(
        self, *, now: datetime = NOW, evidence: dict[str, Any] | None = None, **proof: Any
    ) -> Granted | Refused:
        given = {"proof": self.make_proof(**proof), **(evidence or {})}
        return decide_access(self.make_evidence(**given), now)


@pytest.fixture(scope="session")
def decide(make_proof: MakeProof, make_evidence: MakeEvidence) -> Decide:
    return Decide(make_proof, make_evidence)


def said(answer: Granted | Refused) -> str:
    """The code of a refusal, or that access is given."""
    return "granted" if isinstance(answer, Granted) else answer.code


def test_good_evidence_gives_access(decide: Decide) -> None:
    answer = decide()
    assert isinstance(answer, Granted)
    assert (answer.plan, answer.until) == ("developer", NOW + DAY)
    assert [one.code for one in answer.notices] == ["licence-sandbox"]
    assert decide(evidence={"licensor": LIVE}) == Granted("developer", NOW + DAY)


REFUSALS: list[tuple[str, dict[str, Any]]] = [
    ("licence-not-activated", {"evidence": {"proof": None}}),
    ("licence-unconfirmed", {"evidence": {"proof": None, "trouble": "it is not there"}}),
    ("machine-changed", {"fingerprint": "5b" * 32}),
    ("machine-changed", {"evidence": {"fingerprint": "5b" * 32}}),
    ("licence-wrong-product", {"product": "another"}),
    ("licence-wrong-product", {"product": ""}),
    ("licence-lacks-entitlement", {"entitlements": frozenset()}),
    ("licence-lacks-entitlement", {"entitlements": frozenset({"VISION", "batch"})}),
    ("licence-suspended", {"suspended": True}),
    ("clock-rolled-back", {"now": NOW - DAY}),
    ("licence-expired", {"expiry": NOW}),
    ("licence-unconfirmed", {"ends": NOW}),
    ("licence-unconfirmed", {"grace": timedelta(0)}),
    ("licence-unconfirmed", {"ends": NOW, "evidence": {"trouble": "it is not there"}}),
]


@pytest.mark.parametrize(("code", "changes"), REFUSALS)
@pytest.mark.parametrize("licensor", [PINNED, LIVE], ids=["sandbox", "live"])
def test_whatever_is_wrong_with_the_evidence_has_its_code_and_a_remedy(
    code: str, changes: dict[str, Any], licensor: Licensor, decide: Decide
) -> None:
    merged = {**changes, "evidence": {**changes.get("evidence", {}), "licensor": licensor}}
    merged["key"] = KEY
    if "product" not in changes:
        merged["product"] = licensor.product
    answer = decide(**merged)
    assert isinstance(answer, Refused)
    assert answer.code == code
    assert_reads_well(answer)
    for secret in (KEY, FINGERPRINT, "5b" * 32):
        assert secret not in answer.reason + answer.remedy


def assert_reads_well(answer: Refused) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", answer.code)
    assert re.fullmatch(r"[A-Z].*[^ .:;,]\.", answer.reason), answer.reason
    assert answer.remedy[0].isupper()
    for text in (answer.reason, answer.remedy):
        assert not re.search(r"[.:;,]{2}| {2}| [.,;:]|\bNone\b", text), text
    assert re.search(r"shimmy license|https?://", answer.remedy)


def test_no_evidence_is_no_licence() -> None:
    assert decide_access(None, NOW) == NO_LICENCE
    assert NO_LICENCE.code == "licence-missing"
    assert_reads_well(NO_LICENCE)
    assert "SHIMMY_LICENSE_KEY" in NO_LICENCE.remedy


@pytest.mark.parametrize("code", ["SUSPENDED", "EXPIRED", "NO_MACHINE", "VALID", ""])
def test_the_servers_no_stands_above_any_proof(code: str, decide: Decide) -> None:
    denial = Denial(code, "", NOW - 30 * DAY)
    for proof in ({}, {"fingerprint": "5b" * 32}, {"ends": NOW}):
        assert decide(evidence={"denial": denial}, **proof) == explain_denial(denial, PINNED)
    assert decide(evidence={"denial": denial, "proof": None}) == explain_denial(denial, PINNED)


def test_the_reason_says_what_the_trouble_was(decide: Decide) -> None:
    first = decide(evidence={"proof": None, "trouble": "it did not answer in time"})
    assert isinstance(first, Refused)
    assert first.reason == "The licence could not be confirmed: it did not answer in time."
    later = decide(now=NOW + DAY, evidence={"trouble": "it did not answer in time"})
    assert isinstance(later, Refused)
    assert later.reason == (
        "The licence was last confirmed at 2026-11-24 12:00 UTC, and it has to be every 24 hours: "
        "it did not answer in time."
    )
    assert PINNED.api_url in first.remedy
    assert PINNED.api_url in later.remedy


@pytest.mark.parametrize(
    ("grace", "words"),
    [(HOUR, "every hour."), (36 * HOUR, "every 36 hours."), (1.5 * HOUR, "every 1.5 hours.")],
)
def test_the_grace_is_told_in_hours(grace: timedelta, words: str, decide: Decide) -> None:
    answer = decide(grace=grace, now=NOW + 9 * DAY)
    assert isinstance(answer, Refused)
    assert answer.reason.endswith(words)


@pytest.mark.parametrize(
    ("ttl", "grace", "until"),
    [(24, 24, 24), (24, 3, 3), (3, 24, 3), (1, 8784, 1), (8784, 1, 1)],
    ids=str,
)
def test_a_proof_ends_with_its_file_or_its_grace_whichever_is_first(
    ttl: int, grace: int, until: int, decide: Decide
) -> None:
    proof: dict[str, Any] = {"ends": NOW + ttl * HOUR, "grace": grace * HOUR}
    end = NOW + until * HOUR
    answer = decide(**proof, now=end - TICK)
    assert isinstance(answer, Granted)
    assert answer.until == end
    for late in (end, end + TICK, end + 9 * DAY):
        assert said(decide(**proof, now=late)) == "licence-unconfirmed"


def test_access_ends_with_the_licence_to_the_moment(decide: Decide) -> None:
    expiry = NOW + 3 * HOUR
    answer = decide(expiry=expiry, now=expiry - TICK)
    assert said(answer) == "granted"
    assert said(decide(expiry=expiry, now=expiry)) == "licence-expired"
    late = decide(expiry=expiry, now=expiry + 9 * DAY)
    assert isinstance(late, Refused)
    assert late.reason == "The licence expired on 2026-11-24."


def test_what_is_promised_until_ends_with_the_licence(decide: Decide) -> None:
    """Nobody is told that analyses go on for longer than they will."""
    evidence = {"trouble": "it is not there"}
    answer = decide(expiry=NOW + 3 * HOUR, evidence=evidence)
    assert isinstance(answer, Granted)
    assert answer.until == NOW + 3 * HOUR
    (offline,) = (one for one in answer.notices if one.code == "licence-offline")
    assert offline.message == (
        "The licence could not be confirmed: it is not there. "
        "Analyses go on until 2026-11-24 15:00 UTC."
    )
    assert said(decide(expiry=NOW + 3 * HOUR, evidence=evidence, now=answer.until)) != "granted"


def test_a_policy_may_let_an_expired_licence_work_on(decide: Decide) -> None:
    expired: dict[str, Any] = {"expiry": NOW - DAY, "ends_on_expiry": False}
    answer = decide(**expired)
    assert isinstance(answer, Granted)
    assert answer.until == NOW + DAY
    assert [one.code for one in answer.notices] == ["licence-sandbox", "licence-expired"]
    assert answer.notices[1].message == "The licence expired on 2026-11-23."
    assert said(decide(**expired, now=NOW + DAY)) == "licence-unconfirmed"
    to_the_moment = decide(expiry=NOW, ends_on_expiry=False)
    assert isinstance(to_the_moment, Granted)
    assert [one.code for one in to_the_moment.notices] == ["licence-sandbox", "licence-expired"]


def test_a_clock_may_be_set_back_by_four_hours_and_no_more(decide: Decide) -> None:
    assert ROLLBACK_TOLERANCE == 4 * HOUR
    assert said(decide(now=NOW - ROLLBACK_TOLERANCE)) == "granted"
    answer = decide(now=NOW - ROLLBACK_TOLERANCE - TICK)
    assert isinstance(answer, Refused)
    assert answer.code == "clock-rolled-back"
    assert answer.reason == (
        "This machine's clock says 2026-11-24 07:59 UTC, but it was 2026-11-24 12:00 here before."
    )


@pytest.mark.parametrize("end", ["expiry", "ends", "grace"])
def test_a_clock_set_back_a_little_does_not_lengthen_access(end: str, decide: Decide) -> None:
    """Once the end was seen, an hour back is still after the end."""
    at = 3 * HOUR
    proof: dict[str, Any] = {end: at if end == "grace" else NOW + at}
    for latest, granted in ((NOW + at - TICK, True), (NOW + at, False), (NOW + at + HOUR, False)):
        for back in (timedelta(0), TICK, HOUR, ROLLBACK_TOLERANCE):
            answer = decide(**proof, now=latest - back, evidence={"latest_seen": latest})
            assert isinstance(answer, Granted) is granted, (latest, back)


@pytest.mark.parametrize(
    ("licensor", "trouble", "codes"),
    [
        (LIVE, "", []),
        (PINNED, "", ["licence-sandbox"]),
        (LIVE, "it is not there", ["licence-offline"]),
        (PINNED, "it is not there", ["licence-sandbox", "licence-offline"]),
    ],
)
def test_notices_say_what_is_out_of_the_ordinary(
    licensor: Licensor, trouble: str, codes: list[str], decide: Decide
) -> None:
    answer = decide(evidence={"licensor": licensor, "trouble": trouble})
    assert isinstance(answer, Granted)
    assert [one.code for one in answer.notices] == codes
    assert all(re.fullmatch(r"[A-Z].*[^.]\.", one.message) for one in answer.notices)


HOURS = st.integers(-30, 30).map(lambda hours: NOW + hours * HOUR)
PROOFS = st.fixed_dictionaries(
    {
        "issued": HOURS,
        "ends": HOURS,
        "grace": st.integers(1, 40).map(lambda hours: hours * HOUR),
        "expiry": st.none() | HOURS,
        "suspended": st.sampled_from([False, False, False, True]),
        "fingerprint": st.sampled_from([FINGERPRINT] * 5 + ["5b" * 32]),
        "product": st.sampled_from([PINNED.product] * 5 + ["another"]),
        "entitlements": st.sampled_from([frozenset({"vision", "x"})] * 5 + [frozenset({"x"})]),
    }
)


@settings(max_examples=1000)
@given(
    proof=PROOFS,
    now=HOURS,
    latest=HOURS,
    denied=st.sampled_from([False] * 5 + [True]),
    trouble=st.sampled_from(["", "it is not there"]),
)
def test_access_is_given_exactly_where_everything_speaks_for_it(
    proof: dict[str, Any],
    now: datetime,
    latest: datetime,
    denied: bool,
    trouble: str,
    decide: Decide,
) -> None:
    issued, expiry = proof["issued"], proof["expiry"]
    denial = Denial("SUSPENDED", "", NOW) if denied else None
    evidence = {"denial": denial, "latest_seen": latest, "trouble": trouble}
    ends_on_expiry = expiry is None or issued < expiry
    answer = decide(**proof, ends_on_expiry=ends_on_expiry, now=now, evidence=evidence)

    moment = max(now, latest)
    in_time = now >= latest - 4 * HOUR and moment < issued + proof["grace"]
    in_time = in_time and moment < proof["ends"]
    alive = expiry is None or moment < expiry or issued >= expiry
    ours = proof["fingerprint"] == FINGERPRINT and proof["product"] == PINNED.product
    may = "vision" in proof["entitlements"] and not proof["suspended"] and not denied
    assert isinstance(answer, Granted) is (in_time and alive and ours and may)

    if isinstance(answer, Granted):
        assert now <= moment < answer.until <= min(proof["ends"], issued + proof["grace"])
        assert [one.code for one in answer.notices if "sandbox" in one.code]
    else:
        assert_reads_well(answer)
    # A clock that goes back, in the tolerance or beyond it, opens nothing.
    earlier = decide(
        **proof, ends_on_expiry=ends_on_expiry, now=latest - 2 * HOUR, evidence=evidence
    )
    at_latest = decide(**proof, ends_on_expiry=ends_on_expiry, now=latest, evidence=evidence)
    assert said(earlier) == said(at_latest)
