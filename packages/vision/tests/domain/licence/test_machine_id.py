"""Which machine this is, and what the licence server learns of it."""

from __future__ import annotations

import hashlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shimmy_vision.domain.licence.machine_id import (
    BadMachineId,
    MachineId,
    Source,
    choose_machine_id,
    fingerprint_of,
)

ACCOUNT = "56e72fd8-1f0a-5437-bf22-1cebce5340eb"
EXPLICIT: tuple[Source, ...] = ("flag", "environment", "file")
FOUND: tuple[Source, ...] = ("system", "kept")
SOURCES = (*EXPLICIT, *FOUND)
PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F))
IDS = st.text(PRINTABLE, min_size=1, max_size=256).filter(lambda text: text == text.strip())


def independent_fingerprint(value: str, account: str) -> str:
    """HMAC-SHA256 as RFC 2104 writes it down."""
    key = value.encode()
    key = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    inner = bytes(byte ^ 0x36 for byte in key) + f"shimmy-vision/{account}".encode()
    outer = bytes(byte ^ 0x5C for byte in key) + hashlib.sha256(inner).digest()
    return hashlib.sha256(outer).hexdigest()


def test_the_first_offer_is_chosen() -> None:
    offers = [MachineId(source, f"id of {source}") for source in SOURCES]
    for place in range(len(offers)):
        assert choose_machine_id(offers[place:]) == offers[place]
        assert choose_machine_id(offers[place:][::-1]) == offers[-1]


def test_where_nothing_is_offered_there_is_none() -> None:
    assert choose_machine_id([]) is None


@pytest.mark.parametrize("blank", ["", " ", "\n", "\t \r\n", "\u00a0"])
def test_a_blank_id_that_a_person_chose_is_refused_and_a_found_one_passed_over(blank: str) -> None:
    good = MachineId("kept", "good")
    for source in EXPLICIT:
        assert choose_machine_id([MachineId(source, blank), good]) == BadMachineId(
            source, "is empty"
        )
    for source in FOUND:
        assert choose_machine_id([MachineId(source, blank), good]) == good
        assert choose_machine_id([MachineId(source, blank)]) is None


@pytest.mark.parametrize(
    "value", ["a\nb", "a\0b", "a\x7fb", "grüße", "a\u200bb", "\u202eabc", "a\ud800b", "x" * 257]
)
def test_an_id_that_cannot_be_printed_is_refused(value: str) -> None:
    for source in SOURCES:
        chosen = choose_machine_id([MachineId(source, value), MachineId("kept", "good")])
        assert isinstance(chosen, BadMachineId)
        assert chosen.source == source
        assert "printable" in chosen.problem
        assert value not in repr(chosen)


def test_the_longest_id_and_blanks_around_it_are_accepted() -> None:
    value = "x" * 256
    assert choose_machine_id([MachineId("file", f"  {value}\n")]) == MachineId("file", value)


@given(value=IDS, source=st.sampled_from(SOURCES), account=st.uuids().map(str))
def test_a_fingerprint_is_an_hmac_of_the_account(value: str, source: Source, account: str) -> None:
    found = fingerprint_of(MachineId(source, value), account)
    assert found == independent_fingerprint(value, account)
    assert len(found) == 64
    assert set(found) <= set(string.hexdigits.lower())


def test_a_known_fingerprint_stays_what_it_is() -> None:
    """Another value would make every customer's machine a new one."""
    expected = "286e3503fe52ba4466c4b593c0b2119c0ba14284d04267dba3ab75321eea21a4"
    assert fingerprint_of(MachineId("flag", "machine-1"), ACCOUNT) == expected


@given(one=IDS, other=IDS, account=st.uuids().map(str), elsewhere=st.uuids().map(str))
def test_fingerprints_differ_by_machine_and_by_account(
    one: str, other: str, account: str, elsewhere: str
) -> None:
    first = fingerprint_of(MachineId("flag", one), account)
    assert (first == fingerprint_of(MachineId("flag", other), account)) is (one == other)
    assert (first == fingerprint_of(MachineId("flag", one), elsewhere)) is (account == elsewhere)
    assert one not in first or len(one) < 4


@given(value=IDS, blanks=st.text(" \t\r\n", max_size=3))
def test_where_an_id_was_found_does_not_change_the_machine(value: str, blanks: str) -> None:
    chosen = [choose_machine_id([MachineId(source, value + blanks)]) for source in SOURCES]
    values = {one.value for one in chosen if isinstance(one, MachineId)}
    prints = {fingerprint_of(one, ACCOUNT) for one in chosen if isinstance(one, MachineId)}
    assert values == {value}
    assert len(prints) == 1


def test_the_id_is_in_no_repr_or_log() -> None:
    for source in SOURCES:
        machine = MachineId(source, "secret-machine")
        assert "secret-machine" not in f"{machine} {machine!r}"
        assert source in repr(machine)
        assert machine.explicit is (source in EXPLICIT)
