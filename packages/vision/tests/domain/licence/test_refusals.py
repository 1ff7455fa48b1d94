"""What a refused user reads: in every case a reason, and what to do about it."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shimmy_vision.domain.licence.licence_facts import Denial, Machine
from shimmy_vision.domain.licence.pinned import PINNED
from shimmy_vision.domain.licence.refusals import (
    Refused,
    explain_cap,
    explain_denial,
    list_machines_briefly,
    say_day,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)

SCOPES = (
    *("ENVIRONMENT", "PRODUCT", "POLICY", "USER", "MACHINE", "FINGERPRINT", "COMPONENTS"),
    *("CHECKSUM", "VERSION"),
)
CODES = (
    *("VALID", "NOT_FOUND", "BANNED", "SUSPENDED", "EXPIRED", "OVERDUE"),
    *("NO_MACHINE", "NO_MACHINES", "HEARTBEAT_NOT_STARTED", "HEARTBEAT_DEAD"),
    *(f"{scope}_SCOPE_{what}" for scope in SCOPES for what in ("MISMATCH", "REQUIRED")),
    *("FINGERPRINT_SCOPE_EMPTY", "COMPONENTS_SCOPE_EMPTY", "ENTITLEMENTS_SCOPE_EMPTY"),
    *("ENTITLEMENTS_MISSING", "TOO_MANY_USERS", "TOO_MANY_MACHINES", "TOO_MANY_CORES"),
    *("TOO_MANY_PROCESSES", "TOO_MUCH_MEMORY", "TOO_MUCH_DISK", "FINGERPRINT_TAKEN"),
    *("", "A_CODE_OF_TOMORROW"),
)
KNOWN = {
    "NOT_FOUND": "licence-unknown",
    "SUSPENDED": "licence-suspended",
    "EXPIRED": "licence-expired",
    "BANNED": "licence-banned",
    "NO_MACHINE": "machine-not-activated",
    "NO_MACHINES": "machine-not-activated",
    "FINGERPRINT_SCOPE_MISMATCH": "machine-not-activated",
    "FINGERPRINT_TAKEN": "machine-taken",
    "TOO_MANY_MACHINES": "machine-limit-reached",
    "PRODUCT_SCOPE_MISMATCH": "licence-wrong-product",
    "POLICY_SCOPE_MISMATCH": "licence-wrong-product",
    "ENTITLEMENTS_MISSING": "licence-lacks-entitlement",
}
MACHINES = (
    Machine("1234abcd-0000-4000", "f" * 64, "build-7", "Linux x86_64", NOW),
    Machine("9f00abcd-0000-4000", "e" * 64, "Büro.", "Darwin arm64", None),
)


def deny(code: str, detail: str = "is not so", **more: object) -> Refused:
    denial = Denial(code, detail, NOW, **more)  # type: ignore[arg-type]
    return explain_denial(denial, PINNED)


def assert_reads_well(refused: Refused) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", refused.code)
    assert re.fullmatch(r"[A-Z0-9].*[^ .:;,]\.", refused.reason), refused.reason
    assert refused.remedy[0].isupper()
    for text in (refused.reason, refused.remedy):
        assert not re.search(r"[.:;,]{2}|[.:;,] [.:;,]| {2}| [.,;:]|\bNone\b|\(\)", text), text
        assert text.isprintable()
        assert text == text.strip()


DETAILS = ("", "is not so", "is not so.", "Is not so: see there. ", "…", " ... ")


@pytest.mark.parametrize("code", CODES)
def test_every_verdict_is_a_reason_and_a_remedy(code: str) -> None:
    for detail, machines, limit, expiry in itertools.product(
        DETAILS, ((), MACHINES[:1], MACHINES), (None, 0, 1, 2), (None, NOW)
    ):
        refused = deny(code, detail, machines=machines, max_machines=limit, expiry=expiry)
        assert refused.code == KNOWN.get(code, "licence-invalid")
        assert_reads_well(refused)
        links = (PINNED.pricing_url, PINNED.portal_url)
        assert any(link in refused.remedy for link in links)
        assert all(refused.remedy.count(link) < 2 for link in links)


def test_codes_without_words_of_their_own_are_told_in_the_servers() -> None:
    refused = deny("OVERDUE", "is overdue for check in")
    assert refused.code == "licence-invalid"
    assert "is overdue for check in." in refused.reason
    assert "A_CODE_OF_TOMORROW." in deny("A_CODE_OF_TOMORROW", "").reason
    assert deny("", "").reason == "The licence server refuses this licence: it does not say why."


@pytest.mark.parametrize(
    "detail", ["a\x1b[31mb", "a\nb\tc", "\x07", "a\u202eb", "\ud800", "\x1b" * 5000, "x" * 5000]
)
def test_what_the_server_says_cannot_harm_a_terminal(detail: str) -> None:
    """It may quote what somebody named."""
    refused = deny("OVERDUE", detail)
    assert refused.reason.isprintable()
    assert len(refused.reason) < 500
    refused.reason.encode()


def test_links_are_those_of_the_licensor() -> None:
    other = replace(
        PINNED, pricing_url="https://x.example/plans", portal_url="https://x.example/me"
    )
    for code in CODES:
        remedy = explain_denial(Denial(code, "", NOW), other).remedy
        assert "127.0.0.1" not in remedy
        assert "https://x.example/" in remedy


def test_an_expired_licence_says_when() -> None:
    assert deny("EXPIRED").reason == "The licence expired."
    assert deny("EXPIRED", expiry=NOW).reason == "The licence expired on 2026-11-24."
    assert "shimmy license refresh" in deny("EXPIRED").remedy


@pytest.mark.parametrize("code", ["NO_MACHINE", "NO_MACHINES", "FINGERPRINT_SCOPE_MISMATCH"])
def test_a_machine_that_is_not_activated_is_told_how(code: str) -> None:
    assert "shimmy license activate" in deny(code).remedy


def test_a_full_licence_names_its_machines_and_how_to_free_one() -> None:
    refused = deny("TOO_MANY_MACHINES", machines=MACHINES, max_machines=2)
    assert refused.reason == (
        "The licence is for 2 machines, in use by: "
        "1234abcd (build-7, since 2026-11-24); 9f00abcd (Büro.)."
    )
    assert "shimmy license deactivate 1234abcd" in refused.remedy
    assert "SHIMMY_MACHINE_ID" in refused.remedy
    assert "for 1 machine, all in use." in deny("TOO_MANY_MACHINES", max_machines=1).reason
    assert "deactivate MACHINE" in deny("TOO_MANY_MACHINES").remedy


def test_machines_are_listed_without_their_fingerprints() -> None:
    listed = list_machines_briefly(MACHINES)
    assert "f" * 8 not in listed
    assert "e" * 8 not in listed
    assert list_machines_briefly(()) == ""


@pytest.mark.parametrize("code", CODES)
def test_no_text_names_the_licence_or_a_fingerprint(code: str) -> None:
    """Refusals are pasted into issues and mails."""
    refused = deny(code, machines=MACHINES, licence="c0a4d1a7-3c55-4a90-8e0c-5d9f3c1f2a10")
    for secret in ("c0a4d1a7", "f" * 9, "e" * 9):
        assert secret not in refused.reason + refused.remedy


@pytest.mark.parametrize(
    ("used", "asked", "reason"),
    [
        (2500, 1, "2,500 of 2,500 pages are used this month."),
        (2510, 1, "2,500 of 2,500 pages are used this month."),
        (2498, 3, "2,498 of 2,500 pages are used this month. 2 left, 3 needed."),
    ],
)
def test_a_used_up_month_says_how_much_and_until_when(used: int, asked: int, reason: str) -> None:
    resets = NOW + timedelta(days=7)
    refused = explain_cap(used, 2500, asked, resets, PINNED)
    assert (refused.code, refused.reason) == (
        "page-cap-reached",
        f"{reason} More come on 2026-12-01.",
    )
    assert_reads_well(refused)
    assert PINNED.pricing_url in refused.remedy
    assert "Wait until then" in refused.remedy


def test_a_cap_without_a_month_promises_no_day_to_wait_for() -> None:
    refused = explain_cap(2500, 2500, 1, None, PINNED)
    assert refused.reason == "2,500 of 2,500 pages are used this month."
    assert refused.remedy == f"Choose a larger plan: {PINNED.pricing_url}"


def test_days_are_written_the_same_everywhere() -> None:
    assert say_day(datetime(2026, 1, 2, 23, 59, tzinfo=UTC)) == "2026-01-02"
