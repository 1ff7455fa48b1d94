"""What may stand in a log: names, codes and three ids; no word that is anybody's."""

from __future__ import annotations

import base64
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shimmy_store.domain.private_words import (
    HIDDEN,
    hide_private,
    is_event_id,
    is_request_id,
    show_id,
)
from shimmy_store.domain.traced_paths import name_path
from shimmy_store.server.problems import STATUS

_WORD = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20)
_TAIL = st.text("abcXYZ019", min_size=8, max_size=30)
_STRIPES = st.sampled_from(["cus", "cs_test", "sub", "pi", "ch", "in", "evt", "price", "sk_live"])
_SECRETS = st.one_of(
    st.builds("{}@{}.example".format, _WORD, _WORD),
    st.builds("https://{}/{}?token={}".format, _WORD, _WORD, _WORD),
    st.builds("{}_{}".format, _STRIPES, _TAIL),
    st.builds("whsec_{}".format, _TAIL),
    st.uuids().map(str),
    st.binary(min_size=24, max_size=90).map(lambda data: base64.b64encode(data).decode()),
    st.binary(min_size=16, max_size=32).map(bytes.hex),
    st.binary(min_size=15, max_size=15).map(
        lambda data: "-".join(data.hex()[at : at + 6].upper() for at in range(0, 30, 6)) + "-V3"
    ),
    st.ip_addresses(v=4).map(str),
)


@given(
    _SECRETS, st.sampled_from(["", "to ", "for: ", "('"]), st.sampled_from(["", " failed", "')"])
)
@settings(max_examples=80, deadline=None)
def test_what_is_anybodys_is_hidden_wherever_it_stands(
    secret: str, before: str, after: str
) -> None:
    shown = hide_private(f"{before}{secret}{after}")
    assert secret not in shown
    assert HIDDEN in shown
    assert hide_private(shown) == shown
    for name in ("code", "event", "told", "event_id_of", "request"):
        assert secret not in show_id(name, secret)


def test_codes_and_names_are_left_as_they_are() -> None:
    for told in (
        *STATUS,
        "create_checkout_session",
        "ZeroDivisionError",
        "checkout.session.completed",
    ):
        assert hide_private(told) == told


@pytest.mark.parametrize(
    "given", ["a", "Z-9_x", "0" * 36, uuid.UUID(int=7).hex, str(uuid.UUID(int=7)), "req_1"]
)
def test_short_and_plain_ids_of_requests_are_taken(given: str) -> None:
    assert is_request_id(given)
    assert show_id("request_id", given) == given


@pytest.mark.parametrize(
    "given",
    [
        "",
        "0" * 37,
        "a b",
        "a\n",
        "é",
        "a@b.example",
        "cus_NffrFeUfNV2Hib",
        "sk_live_abcdefgh",
        "whsec_abcdefgh",
        "A1B2C3-D4E5F6-A1B2C3",
        "a/b",
        "https:x",
    ],
)
def test_others_are_not(given: str) -> None:
    assert not is_request_id(given)
    assert show_id("request_id", given) == HIDDEN


def test_an_events_id_stands_in_its_own_field_only() -> None:
    event = "evt_1NG8Du2eZvKYlo2CUI79vXWy"
    assert is_event_id(event)
    assert show_id("event_id", event) == event
    assert show_id("code", event) == HIDDEN
    for other in (
        "cus_NffrFeUfNV2Hib",
        "look cus_NffrFeUfNV2Hib 17",
        "evt_",
        "evt_a b",
        f"{event}\n",
    ):
        assert not is_event_id(other)
        assert show_id("event_id", other) == HIDDEN


@given(st.text("abcdef0123456789ABC_-", min_size=1, max_size=40), st.sampled_from(["v1", "search"]))
@settings(max_examples=60, deadline=None)
def test_a_path_is_named_by_words_of_the_api_only(identifier: str, word: str) -> None:
    shown = name_path(f"https://api.stripe.com/{word}/{identifier}x1/lines?customer={identifier}")
    assert shown == f"/{word}/*/lines"
