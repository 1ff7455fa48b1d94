"""One mailbox or two: only the case of ASCII letters is certain to make no difference."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shimmy_store.domain.mailboxes import looks_like_address, mailbox_of

LONG = "a" * 250 + "@b.c"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Ada@Example.COM", "ada@example.com"),
        (" ada@example.com\t", "ada@example.com"),
        ("JÜRGEN@example.com", "jÜrgen@example.com"),
    ],
)
def test_the_case_of_ascii_letters_makes_no_difference(first: str, second: str) -> None:
    assert mailbox_of(first) == mailbox_of(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("strauß@example.com", "strauss@example.com"),
        ("JÜRGEN@example.com", "jürgen@example.com"),
        ("ann\N{KELVIN SIGN}@example.com", "annk@example.com"),
        ("\N{LATIN SMALL LETTER LONG S}am@example.com", "sam@example.com"),
        ("o\N{LATIN SMALL LIGATURE FI}ce@example.com", "ofice@example.com"),
        (
            "\N{GREEK SMALL LETTER FINAL SIGMA}@example.com",
            "\N{GREEK SMALL LETTER SIGMA}@example.com",
        ),
    ],
)
def test_letters_that_fold_together_are_two_mailboxes(first: str, second: str) -> None:
    """They are candidates for each other, and nobody reads the other's mail."""
    assert mailbox_of(first) != mailbox_of(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("d\N{LATIN SMALL LETTER DOTLESS I}lek@example.com", "dilek@example.com"),
        ("D\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}LEK@example.com", "dilek@example.com"),
        ("ada.l@example.com", "adal@example.com"),
        ("ada+shop@example.com", "ada@example.com"),
        ("ada@example.com", "ada@example.org"),
        ("\N{CYRILLIC SMALL LETTER A}da@example.com", "ada@example.com"),
    ],
)
def test_what_only_looks_alike_is_another_mailbox(first: str, second: str) -> None:
    assert mailbox_of(first) != mailbox_of(second)
    assert first.casefold() != second.casefold()


@pytest.mark.parametrize(
    "text",
    ["a@b", "ada@example.com", "strauß@exämple.com", "a.b+c@[127.0.0.1]", LONG],
)
def test_an_address(text: str) -> None:
    assert looks_like_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        "@",
        "@example.com",
        "ada@",
        "ada@home@example.com",
        "ada @example.com",
        " ada@example.com",
        "ada@example.com\n",
        "ada@example.com\r\nBcc: eve@example.com",
        "ada@example.com\x00",
        "ada\N{NO-BREAK SPACE}@example.com",
        "ada@example.com\N{LINE SEPARATOR}",
        "Ada <ada@example.com>",
        "a" + LONG,
    ],
)
def test_no_address(text: str) -> None:
    assert not looks_like_address(text)


LETTERS = "aAkKsSiI@.ß\N{KELVIN SIGN}\N{LATIN SMALL LETTER LONG S}\N{LATIN SMALL LETTER DOTLESS I}"
ADDRESSES = (st.text(LETTERS, max_size=6) | st.text(max_size=6)).map(lambda one: f"{one}@a")


@given(ADDRESSES, ADDRESSES)
def test_one_mailbox_is_always_found_by_folding(first: str, second: str) -> None:
    """So whoever is looked for by the folded address is among the candidates."""
    for other in (second, first.swapcase()):
        if looks_like_address(first) and mailbox_of(first) == mailbox_of(other):
            assert first.casefold() == other.casefold()


@given(ADDRESSES)
def test_a_mailbox_is_its_own_mailbox(address: str) -> None:
    assert mailbox_of(mailbox_of(address)) == mailbox_of(address)
    assert len(mailbox_of(address)) <= len(address)
