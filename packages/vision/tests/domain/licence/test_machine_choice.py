"""Which machine a person means: never another one than they can see they mean."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shimmy_vision.domain.licence.licence_facts import Machine
from shimmy_vision.domain.licence.machine_choice import Ambiguous, choose_machine


@dataclass(frozen=True)
class Listed:
    """Three machines; the last one's id begins as the first one's, and is its name."""

    first: Machine
    second: Machine
    third: Machine

    @property
    def all(self) -> tuple[Machine, ...]:
        return (self.first, self.second, self.third)


def machine(identifier: str, name: str = "unnamed") -> Machine:
    return Machine(identifier, f"fingerprint of {identifier}", name, "Linux", None)


LISTED = Listed(
    machine("1234abcd-0000", "laptop"), machine("1234abce-1111", "server"), machine("9f00-2", "9f")
)


def choose(wanted: str | None, *machines: Machine, own: str = "") -> Machine | Ambiguous | None:
    return choose_machine(wanted, machines or LISTED.all, own)


def test_without_a_word_it_is_this_machine() -> None:
    assert choose(None, own=LISTED.second.fingerprint) == LISTED.second
    assert choose(None, own="nobody's") is None


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("1234abcd-0000", LISTED.first),
        ("1234abcd", LISTED.first),
        ("1234abce", LISTED.second),
        ("laptop", LISTED.first),
        ("9f", LISTED.third),
        ("9f00", LISTED.third),
        ("1234abc", Ambiguous((LISTED.first, LISTED.second))),
        ("1234", Ambiguous((LISTED.first, LISTED.second))),
        ("123", None),
        ("9f0", None),
        ("lap", None),
        ("lapt", None),
        ("LAPTOP", None),
        ("1234ABCD", None),
        ("", None),
        ("34abcd-0000", None),
        ("1234abcd-0000-more", None),
    ],
)
def test_a_word_is_an_id_a_name_or_four_characters_of_an_id(
    wanted: str, chosen: Machine | Ambiguous | None
) -> None:
    assert choose(wanted) == chosen


def test_an_exact_id_goes_before_a_name_and_a_name_never_hides_a_beginning() -> None:
    victim = machine("1234abcd-0000")
    disguised = machine("5678abcd-1111", name="1234abcd-0000")
    assert choose("1234abcd-0000", disguised, victim) == victim
    assert choose("1234abcd-0000", disguised) == disguised
    named = machine("5678abcd-1111", name="1234abcd")
    assert choose("1234abcd", named, victim) == Ambiguous((named, victim))
    assert choose("1234abcd", named) == named


def test_machines_of_the_same_name_are_not_guessed_between() -> None:
    twins = (machine("aaaa-1", "twin"), machine("bbbb-2", "twin"))
    assert choose("twin", *twins) == Ambiguous(twins)
    assert choose("aaaa-1", *twins) == twins[0]


def test_where_there_are_no_machines_none_is_meant() -> None:
    for wanted in (None, "", "laptop"):
        assert choose_machine(wanted, (), "") is None


WORDS = st.text("ab1", max_size=6)
MACHINES = st.lists(
    st.builds(machine, st.text("ab1", min_size=1, max_size=6), WORDS),
    max_size=5,
    unique_by=lambda one: one.id,
)


@given(wanted=WORDS, machines=MACHINES)
def test_what_is_chosen_is_meant_and_nothing_else_could_be(
    wanted: str, machines: list[Machine]
) -> None:
    chosen = choose_machine(wanted, machines, "")
    ids = [one for one in machines if one.id == wanted]
    meant = ids or [
        one
        for one in machines
        if one.name == wanted or (one.id.startswith(wanted) and len(wanted) > 3)
    ]
    if isinstance(chosen, Ambiguous):
        assert list(chosen.machines) == meant
        assert len(meant) > 1
    else:
        assert meant == ([] if chosen is None else [chosen])
