"""Tokens of mailed links: what was signed here is read again, and nothing else."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import URLSafeSerializer

from shimmy_store.adapters.signed_links import SignedLinks
from shimmy_store.errors import SettingsError

OLD, NEW = "an old secret of thirty-two signs", "a new secret of thirty-two signs.."
LINK = str(uuid.UUID(int=7))
SIGNER = SignedLinks([NEW, OLD])


@given(st.uuids().map(str))
def test_what_was_signed_is_read(link: str) -> None:
    token = SIGNER.token(link)
    assert SIGNER.read(token) == link
    assert token == SignedLinks([NEW, OLD]).token(link)
    assert re.fullmatch(r"[A-Za-z0-9_.-]{60,200}", token)


def test_links_stay_good_over_releases() -> None:
    assert SIGNER.token(LINK) == (
        ".eJxTMoACXSwEFJgrAQCIAAcA.CbBUtoC9Ly-OJAvFYOtHm8eo1TP4wBkjBkIHTK-RBrQ"
    )


def test_secrets_can_be_changed_while_links_are_out() -> None:
    before, changing, after = SignedLinks([OLD]), SignedLinks([NEW, OLD]), SignedLinks([NEW])
    assert changing.read(before.token(LINK)) == LINK
    assert changing.token(LINK) == after.token(LINK)
    assert after.read(before.token(LINK)) is None
    assert before.read(after.token(LINK)) is None


@given(st.data())
def test_a_token_that_was_changed_is_none(data: st.DataObject) -> None:
    token = SIGNER.token(LINK)
    place = data.draw(st.integers(0, len(token)))
    end = data.draw(st.integers(place, min(len(token), place + 3)))
    put = data.draw(st.text(alphabet="ABCabc019_-.=+/ \n%é", max_size=3))
    changed = token[:place] + put + token[end:]
    assert SIGNER.read(changed) == (LINK if changed == token else None)


@given(st.text())
def test_any_text_is_none(text: str) -> None:
    assert SIGNER.read(text) is None


@pytest.mark.parametrize("token", ["", ".", "a.b", "\ud800", "é" * 40, "A" * 10**7, "." * 10**6])
def test_odd_and_huge_tokens_are_none(token: str) -> None:
    assert SIGNER.read(token) is None
    assert SIGNER.read(SIGNER.token(LINK) + token[:600]) == (None if token else LINK)


def test_what_the_secret_signed_for_something_else_is_none() -> None:
    assert SIGNER.read(str(URLSafeSerializer(NEW, salt="session").dumps(LINK))) is None
    assert SIGNER.read(str(URLSafeSerializer(NEW, salt="shimmy-link").dumps(LINK))) is None


@pytest.mark.parametrize("secrets", [[], [""], [NEW, ""]])
def test_without_a_secret_nothing_is_signed(secrets: list[str]) -> None:
    with pytest.raises(SettingsError) as raised:
        SignedLinks(secrets)
    assert raised.value.code == "link-secret-missing"
