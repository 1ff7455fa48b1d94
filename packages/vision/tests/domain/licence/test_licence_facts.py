"""Licences, machines and verdicts, read from documents that may hold anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shimmy_vision.domain.licence.licence_facts import (
    Denial,
    Valid,
    included,
    read_licence,
    read_machine,
    read_machines,
    read_moment,
    read_verdict,
    related_id,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NONCE = 4_503_599_627_370_495
Document = Callable[[], dict[str, Any]]

NAMES = (
    *("id", "type", "data", "attributes", "meta", "nonce", "valid", "code", "detail", "key"),
    *("included", "relationships", "license", "metadata", "expiry", "uses", "maxUses", "created"),
    *("fingerprint", "name", "hostname", "platform", "plan", "pagesPeriodEnd", "suspended"),
)
WORDS = ("licenses", "machines", "2026-11-24T12:00:00Z", "0001-01-01T00:00:00+23:59", "24:00", "")
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=8)
LEAF = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | ANY_TEXT
    | st.sampled_from(WORDS)
)
JSON = st.recursive(
    LEAF,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | ANY_TEXT, inner, max_size=6)
    ),
    max_leaves=25,
)
LICENCES = st.fixed_dictionaries(
    {"type": st.just("licenses"), "id": st.just("x") | JSON},
    optional={
        "attributes": st.dictionaries(st.sampled_from(NAMES), JSON, max_size=8) | JSON,
        "relationships": JSON,
    },
)
DOCUMENTS = st.dictionaries(st.sampled_from(NAMES), JSON | LICENCES, max_size=6)


def answer(licence: object, **meta: object) -> dict[str, Any]:
    said = {"valid": True, "code": "VALID", "detail": "is valid", "nonce": NONCE}
    return {"data": licence, "meta": {**said, **meta}}


def test_a_signed_yes_is_the_licence(document: Document) -> None:
    licence = document()["included"][0]
    verdict = read_verdict(answer(licence), NONCE, NOW)
    assert verdict == Valid(read_licence(licence), NOW)


@pytest.mark.parametrize("nonce", [NONCE + 1, 0, None, str(NONCE), [NONCE]])
def test_an_answer_to_something_else_is_none(nonce: object, document: Document) -> None:
    """A reply kept by somebody in between and played again."""
    with pytest.raises(ValueError, match="nonce"):
        read_verdict(answer(document()["included"][0], nonce=nonce), NONCE, NOW)
    others: list[dict[str, Any]] = [{}, {"meta": None}, {"meta": []}, {"data": None, "meta": {}}]
    for whole in others:
        with pytest.raises(ValueError, match=r"nonce|meta"):
            read_verdict(whole, NONCE, NOW)


def test_a_yes_to_no_licence_is_a_no() -> None:
    assert read_verdict(answer(None), NONCE, NOW) == Denial("VALID", "is valid", NOW)
    said = answer(None, valid=False, code="NOT_FOUND", detail="does not exist")
    assert read_verdict(said, NONCE, NOW) == Denial("NOT_FOUND", "does not exist", NOW)


@pytest.mark.parametrize("valid", [False, None, 0, 1, "true", [True], {}])
def test_only_a_plain_true_is_a_yes(valid: object, document: Document) -> None:
    """And a no names its licence, for what is to be said of it."""
    licence = document()["included"][0]
    verdict = read_verdict(answer(licence, valid=valid, code="EXPIRED"), NONCE, NOW)
    facts = read_licence(licence)
    assert verdict == Denial(
        "EXPIRED", "is valid", NOW, licence=facts.id, expiry=facts.expiry, max_machines=2
    )


@pytest.mark.parametrize("code", ["VALID", "EXPIRED", "no such code", "", None])
def test_valid_decides_and_the_code_never(code: object, document: Document) -> None:
    licence = document()["included"][0]
    assert isinstance(read_verdict(answer(licence, code=code), NONCE, NOW), Valid)
    refused = read_verdict(answer(licence, valid=False, code=code, detail=None), NONCE, NOW)
    assert isinstance(refused, Denial)
    assert (refused.code, refused.detail) == (code or "", "")


@settings(max_examples=300)
@given(document=DOCUMENTS, nonce=st.integers(0, 3))
@example(document={"meta": {"nonce": 1}, "data": {"type": "licenses"}}, nonce=1)
def test_a_verdict_that_makes_no_sense_is_a_value_error(
    document: dict[str, Any], nonce: int
) -> None:
    for meta in (document.get("meta"), {"nonce": nonce, "valid": True}, {"nonce": nonce}):
        try:
            verdict = read_verdict({**document, "meta": meta}, nonce, NOW)
        except ValueError:
            continue
        assert isinstance(verdict, Valid | Denial)
        assert verdict.at is NOW


@settings(max_examples=300)
@given(document=DOCUMENTS | LICENCES, whole=JSON)
@example(document={"data": [[]]}, whole=[])
def test_any_json_is_read_or_a_value_error(document: dict[str, Any], whole: Any) -> None:
    readers: tuple[Callable[[Any], object], ...] = (
        read_licence,
        lambda one: read_machine({**one, "type": "machines"}),
        read_machines,
        lambda one: related_id(one, "license"),
        lambda one: included(one, "licenses"),
        lambda _: read_licence(whole),
        lambda _: read_machine(whole),
        lambda _: read_moment(whole),
    )
    for read in readers:
        try:
            read(document)
        except ValueError:
            continue


@pytest.mark.parametrize("limit", ["maxUses", "maxMachines", "uses"])
@pytest.mark.parametrize("value", [-1, 1.0, "5", True, [], float("nan")])
def test_a_count_that_is_none_is_refused(limit: str, value: object, document: Document) -> None:
    licence = document()["included"][0]
    licence["attributes"][limit] = value
    with pytest.raises(ValueError, match=f"{limit} is no count"):
        read_licence(licence)


def test_a_limit_of_null_is_none_and_one_of_nothing_is_nothing(document: Document) -> None:
    licence = document()["included"][0]
    licence["attributes"].update(maxUses=None, maxMachines=None, uses=None)
    facts = read_licence(licence)
    assert (facts.max_uses, facts.max_machines, facts.uses) == (None, None, 0)
    licence["attributes"].update(maxUses=0, maxMachines=0, uses=0)
    facts = read_licence(licence)
    assert (facts.max_uses, facts.max_machines, facts.uses) == (0, 0, 0)


@pytest.mark.parametrize(
    ("plan", "name", "shown"),
    [
        ("team", "Team", "team"),
        (None, "Team", "Team"),
        ("", "Team", "Team"),
        (None, None, "licensed"),
    ],
)
def test_a_licence_has_a_plan_in_any_case(
    plan: str | None, name: str | None, shown: str, document: Document
) -> None:
    licence = document()["included"][0]
    licence["attributes"]["metadata"]["plan"] = plan
    licence["attributes"]["name"] = name
    assert read_licence(licence).plan == shown


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-24T12:00:00.000Z", NOW),
        ("2026-11-24T13:00:00+01:00", NOW),
        ("2026-11-24T12:00:00", NOW),
        ("2026-11-24", NOW.replace(hour=0)),
    ],
)
def test_wire_times_are_moments_in_utc(text: str, moment: datetime) -> None:
    read = read_moment(text)
    assert read == moment
    assert read is not None
    assert read.tzinfo is UTC


@pytest.mark.parametrize(
    "value",
    [
        *("", "soon", "24:00", "2026-13-01", 7, 7.0, True, [], {}),
        *("2026-11-24T12:00:00+24:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-00:01"),
    ],
)
def test_what_is_no_time_or_beyond_the_calendar_is_a_value_error(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_moment(value)


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_time_a_server_writes_is_read(moment: datetime) -> None:
    assert read_moment(moment.isoformat().replace("+00:00", "Z")) == moment
    assert read_moment(None) is None


def machine(**attributes: object) -> dict[str, Any]:
    return {"type": "machines", "id": "m", "attributes": {"fingerprint": "f", **attributes}}


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ({"name": "build-7"}, "build-7"),
        ({"name": "Büro 7 — größer"}, "Büro 7 — größer"),
        ({"name": None, "hostname": "host"}, "host"),
        ({"name": "", "hostname": ""}, "unnamed"),
        ({}, "unnamed"),
        ({"name": 7}, "7"),
        ({"name": "\x1b[2J\x1b]0;owned\x07"}, "?[2J?]0;owned?"),
        ({"name": "a\nb\r\tc\x00\x7f\x9b"}, "a?b??c???"),
        ({"name": "a\u202eb\u2028c\ud800d"}, "a?b?c?d"),
        ({"name": "x" * 61}, "x" * 60),
    ],
)
def test_machines_are_called_what_their_owner_calls_them_in_one_plain_line(
    attributes: dict[str, object], name: str
) -> None:
    assert read_machine(machine(**attributes)).name == name
    platforms = {"platform": attributes.get("name")}
    expected = name if attributes.get("name") else "unknown"
    assert read_machine(machine(**platforms)).platform == expected


@given(name=ANY_TEXT | st.text(), platform=ANY_TEXT | JSON)
def test_no_name_of_a_machine_harms_a_terminal(name: str, platform: object) -> None:
    read = read_machine(machine(name=name, platform=platform))
    for text in (read.name, read.platform):
        assert text.isprintable()
        assert 0 < len(text) <= 60
        text.encode()


def test_machines_are_a_list_of_machines() -> None:
    document = {"data": [machine(name="a", created="2026-11-24T12:00:00Z"), machine(name="b")]}
    first, second = read_machines(json.loads(json.dumps(document)))
    assert (first.name, first.since, second.name, second.since) == ("a", NOW, "b", None)
    assert read_machines({"data": []}) == ()
    lists: list[object] = [None, machine(), [1], [{}], [None], "text"]
    for wrong in ({}, *({"data": one} for one in lists)):
        with pytest.raises(ValueError, match=r"data is no|not one of"):
            read_machines(wrong)


@pytest.mark.parametrize(
    ("relationships", "identifier"),
    [
        ({"license": {"data": {"id": "x"}}}, "x"),
        ({"license": {"data": {}}}, ""),
        ({"license": {"data": None}}, ""),
        ({"license": None}, ""),
        ({}, ""),
        (None, ""),
    ],
)
def test_what_a_resource_is_related_to(relationships: object, identifier: str) -> None:
    assert related_id({"relationships": relationships}, "license") == identifier


def test_included_resources_are_those_of_one_type() -> None:
    listed = [{"type": "a", "id": 1}, {"type": "b"}, {"type": "a", "id": 2}, None, [], "a"]
    assert [one["id"] for one in included({"included": listed}, "a")] == [1, 2]
    assert included({"included": None}, "a") == []
    assert included({}, "a") == []
    with pytest.raises(ValueError, match="no list"):
        included({"included": {"type": "a"}}, "a")


def test_a_plan_of_control_characters_reaches_no_terminal(document: Document) -> None:
    resource = document()["included"][0]
    resource["attributes"]["metadata"] = {"plan": "\x1b[2Jpro\nfessional"}
    assert read_licence(resource).plan == "[2Jpro fessional"
    resource["attributes"]["metadata"] = {"plan": "\x1b"}
    assert read_licence(resource).plan == "licensed"
