"""What was said between a client and its licence server goes on being said, and understood.

A client that is out there sends what ``contracts/wire`` holds and reads answers of that shape. What
changes on the wire is a change in that folder: ``scripts/make_wire_samples.py`` writes it anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import wire_samples

from shimmy_vision.domain.licence.certificate import LicenceProof, open_machine_file
from shimmy_vision.domain.licence.pinned import PINNED

EDITIONS = wire_samples.editions()
REMAKE = "the wire has changed: see scripts/make_wire_samples.py"


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_last_edition_is_what_is_said_today() -> None:
    """To the letter, signatures and machine file too: keys, clock, ids and nonces stand still."""
    told, kept = wire_samples.record(), _read(EDITIONS[-1])
    assert [one["step"] for one in told["steps"]] == [one["step"] for one in kept["steps"]]
    for today, then in zip(told["steps"], kept["steps"], strict=True):
        assert today == then, f"{today['step']}: {REMAKE}"
    assert told == kept, REMAKE


@pytest.mark.parametrize("path", EDITIONS, ids=lambda one: one.stem)
def test_todays_client_understands_what_was_answered(path: Path) -> None:
    kept = _read(path)
    played = {step: (sent, found) for step, sent, found in wire_samples.play(kept)}
    for step in kept["steps"]:
        sent, found = played[step["step"]]
        assert found == step["understood"], step["step"]
        if path == EDITIONS[-1]:
            asked = [one["request"] for one in step["exchanges"]]
            assert sent == asked, f"{step['step']}: {REMAKE}"


@pytest.mark.parametrize("path", EDITIONS, ids=lambda one: one.stem)
def test_todays_server_answers_a_client_of_that_time(path: Path) -> None:
    """There may be more in an answer now; what was there is there still."""
    answered = wire_samples.send_again(_read(path))
    assert len(answered) > 20
    for step, then, today in answered:
        assert today["status"] == then["status"], step
        assert set(then["headers"]) <= set(today["headers"]), step
        assert list(_missing(then["body"], today["body"])) == [], step


def _missing(then: Any, today: Any, place: str = "") -> Any:
    """Where something of ``then`` is not in ``today``."""
    if isinstance(then, dict) and isinstance(today, dict):
        for name, value in then.items():
            if name not in today:
                yield f"{place}/{name}"
            elif name == "certificate":
                assert _facts(value) == _facts(today[name])
            else:
                yield from _missing(value, today[name], f"{place}/{name}")
    elif isinstance(then, list) and isinstance(today, list) and len(then) == len(today):
        for number, (one, other) in enumerate(zip(then, today, strict=True)):
            yield from _missing(one, other, f"{place}/{number}")
    elif then != today:
        yield place


def _facts(certificate: str) -> LicenceProof:
    found = open_machine_file(
        certificate,
        licence_key=wire_samples.KEY,
        fingerprint=wire_samples.MINE,
        public_key=PINNED.public_key,
    )
    assert isinstance(found, LicenceProof)
    return found


def test_what_is_missing_from_an_answer_is_noticed() -> None:
    """The witness."""
    then = {"data": {"id": "1", "list": [{"a": 1}]}}
    assert list(_missing(then, {"data": {"id": "1", "list": [{"a": 1}], "more": 0}})) == []
    assert list(_missing(then, {"data": {"id": "1", "list": [{"a": 2}]}})) == ["/data/list/0/a"]
    assert list(_missing(then, {"data": {"id": "1"}})) == ["/data/list"]
