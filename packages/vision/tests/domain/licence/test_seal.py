"""Seals: one record, of one kind, with one key; whatever else is refused."""

from __future__ import annotations

import hashlib
import hmac
import json
import string

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from shimmy_vision.domain.licence.seal import holds, licence_name, seal, seal_key

KEY, FINGERPRINT = "0F4B2C-9D11E7-A3C5F8-77B0D2-C41E96-V3", "5a" * 32
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=8)
FIELD = st.none() | st.integers() | st.text(max_size=8) | st.sampled_from(["1", 1, "", "None", 0])
FIELDS = st.lists(FIELD, max_size=6)


def test_a_seal_is_an_hmac_of_the_record() -> None:
    key = hmac.new(FINGERPRINT.encode(), KEY.encode(), "sha256").digest()
    assert seal_key(KEY, FINGERPRINT) == key
    record = b'["pages","id",3,null,"\\u00fc"]'
    expected = hmac.new(key, record, "sha256").hexdigest()
    assert seal(key, "pages", ["id", 3, None, "ü"]) == expected


@given(fields=FIELDS, kind=st.text(max_size=5))
def test_a_seal_holds_for_its_record(fields: list[object], kind: str) -> None:
    key = seal_key(KEY, FINGERPRINT)
    made = seal(key, kind, fields)
    assert holds(key, kind, fields, made)
    assert holds(key, kind, tuple(fields), made)


@given(one=FIELDS, other=FIELDS, kind=st.text(max_size=3), other_kind=st.text(max_size=3))
@example(one=[1], other=["1"], kind="a", other_kind="a")
@example(one=[None], other=["None"], kind="a", other_kind="a")
@example(one=[None], other=["null"], kind="a", other_kind="a")
@example(one=[None], other=[], kind="a", other_kind="a")
@example(one=[0], other=[None], kind="a", other_kind="a")
@example(one=[""], other=[None], kind="a", other_kind="a")
@example(one=["a", "b"], other=["ab", ""], kind="a", other_kind="a")
@example(one=["a,b"], other=["a", "b"], kind="a", other_kind="a")
@example(one=['a","b'], other=["a", "b"], kind="a", other_kind="a")
@example(one=["a"], other=["b", "a"], kind="b", other_kind="a")
@example(one=["\\u00fc"], other=["ü"], kind="a", other_kind="a")
def test_another_record_has_another_seal(
    one: list[object], other: list[object], kind: str, other_kind: str
) -> None:
    assume([kind, *typed(one)] != [other_kind, *typed(other)])
    key = seal_key(KEY, FINGERPRINT)
    assert not holds(key, other_kind, other, seal(key, kind, one))


def typed(fields: list[object]) -> list[object]:
    return [(type(one), one) for one in fields]


@given(fields=FIELDS.filter(bool), data=st.data())
def test_any_change_of_any_field_breaks_the_seal(fields: list[object], data: st.DataObject) -> None:
    key = seal_key(KEY, FINGERPRINT)
    made = seal(key, "licence", fields)
    place = data.draw(st.integers(0, len(fields) - 1))
    other = data.draw(FIELD)
    assume((type(other), other) != (type(fields[place]), fields[place]))
    assert not holds(key, "licence", [*fields[:place], other, *fields[place + 1 :]], made)
    assert not holds(key, "licence", [*fields[:place], *fields[place + 1 :]], made)
    assert not holds(key, "licence", [*fields, None], made)


@given(fields=FIELDS, key=st.text(max_size=40), fingerprint=st.text(max_size=64))
def test_a_record_of_another_licence_or_machine_does_not_open(
    fields: list[object], key: str, fingerprint: str
) -> None:
    assume((key, fingerprint) != (KEY, FINGERPRINT))
    made = seal(seal_key(key, fingerprint), "licence", fields)
    assert not holds(seal_key(KEY, FINGERPRINT), "licence", fields, made)
    assert seal_key(KEY, FINGERPRINT + "0") != seal_key(KEY + "0", FINGERPRINT)


@pytest.mark.parametrize("found", [None, 0, True, b"", "", "ü", "\ud800", [], float("nan")])
def test_what_is_no_seal_holds_nothing(found: object) -> None:
    assert not holds(seal_key(KEY, FINGERPRINT), "licence", [], found)


@given(found=ANY_TEXT | st.text(string.hexdigits, min_size=64, max_size=64))
def test_no_text_is_a_seal_by_chance(found: str) -> None:
    key = seal_key(KEY, FINGERPRINT)
    made = seal(key, "licence", ["a"])
    assert holds(key, "licence", ["a"], found) is (found == made)
    assert not holds(key, "licence", ["a"], made.upper())
    assert not holds(key, "licence", ["a"], made + found[:1] + "0")
    assert not holds(key, "licence", ["a"], made[:-1])


def test_a_licence_is_called_neither_by_its_key_nor_alike_elsewhere() -> None:
    name = licence_name(KEY, "account", FINGERPRINT)
    message = f"account/{FINGERPRINT}".encode()
    assert name == hmac.new(KEY.encode(), message, hashlib.sha256).hexdigest()[:32]
    others = {
        licence_name(KEY + "0", "account", FINGERPRINT),
        licence_name(KEY, "other", FINGERPRINT),
        licence_name(KEY, "account", "5b" * 32),
    }
    assert len({name, *others}) == 4
    assert not set(KEY.split("-")) & set(name.upper().split("-"))
    json.dumps(name)


@given(key=st.text(min_size=8, max_size=40), fingerprint=st.text(max_size=64))
def test_names_of_licences_can_be_kept_anywhere(key: str, fingerprint: str) -> None:
    name = licence_name(key, "account", fingerprint)
    assert len(name) == 32
    assert set(name) <= set(string.hexdigits.lower())
