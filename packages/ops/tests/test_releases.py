"""Releases and rollbacks: cut off anywhere, damaged, doubted, taken back, and never rewritten."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from release_yard import NOW, Cut, Place, agree

from shimmy_ops.domain.releases.choosing import Named, decide_release
from shimmy_ops.domain.releases.config_file import parse_config
from shimmy_ops.domain.releases.records import (
    PARTS,
    History,
    Part,
    Release,
    encode_record,
    read_history,
)
from shimmy_ops.domain.releases.state import Journal, Seen, State, encode_state, parse_state
from shimmy_ops.errors import OpsError, ReleaseError
from shimmy_ops.use_cases.put_in_place import put_in_place
from shimmy_ops.use_cases.roll_back import roll_back
from shimmy_ops.use_cases.verify_releases import verify_releases

DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
TEXTS = st.text(max_size=20)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    # A process that is cut off loses nothing of what it wrote; only a power cut does, and waiting
    # for the disk a thousand times takes long.
    monkeypatch.setattr(os, "fsync", lambda _: None)
    return Place(tmp_path)


def code(act: Callable[[], object]) -> str:
    with pytest.raises(OpsError) as refused:
        act()
    return refused.value.code


def cut_at(number: int) -> tuple[Callable[[], bool], list[int]]:
    """Counts calls; true at the one of this number."""
    calls = [0]

    def count() -> bool:
        calls[0] += 1
        return calls[0] == number

    return count, calls


def test_what_is_released_is_in_place_and_what_was_comes_back(place: Place) -> None:
    place.release("1.0")
    place.release("1.1")
    assert place.seen() == ("1.1", "1.1", "1.1")
    assert stat.S_IMODE((place.folder / "current.env").stat().st_mode) == 0o600
    back = place.back()
    assert (back.number, back.restores, back.version) == (3, 1, "1.0")
    assert place.seen() == ("1.0", "1.0", "1.0")
    assert code(place.back) == "nothing-before"
    assert place.back("1.1").restores == 2
    assert place.seen() == ("1.1", "1.1", "1.1")
    place.release("1.2")
    # The one before 1.2 that was good is 1.1, whatever was rolled back in between.
    assert place.back().restores == 2
    assert [one.number for one in place.shelf.history().releases] == [1, 2, 3, 4, 5, 6]
    assert verify_releases(place.shelf) == []


def test_the_same_again_changes_nothing(place: Place) -> None:
    first = place.release("1.0")
    deploys = (place.folder / "deploys").read_text()
    assert place.release("1.0") == first
    assert place.back(1) == first
    assert (place.folder / "deploys").read_text() == deploys
    assert len(place.shelf.history().releases) == 1


def test_a_release_that_fails_its_smoke_test_is_taken_back(place: Place) -> None:
    place.release("1.0")
    failed = place.record("broken")
    with pytest.raises(ReleaseError) as returned:
        put_in_place(failed, place.yard())
    assert returned.value.code == "release-returned"
    assert "/health answers 500" in returned.value.message
    assert place.seen() == ("1.0", "1.0", "1.0")
    state = place.shelf.state()
    assert (state.active, state.journal, list(state.good)) == (1, None, [1])
    # What never was good is nothing to go back to by itself.
    place.release("1.2")
    assert place.back().restores == 1
    assert code(lambda: place.back(2)) == "rollback-doubtful"


def test_what_was_before_the_first_release_comes_back_too(place: Place) -> None:
    place.without_worker()
    by_hand = place.tree("by hand", "index.html", "by hand")
    (place.folder / "current").symlink_to(by_hand)
    (place.folder / "current.env").write_text("export BY=hand\n")
    failed = place.record("broken", worker=False)
    assert code(lambda: put_in_place(failed, place.yard())) == "release-returned"
    assert place.seen()[0] == "by hand"
    assert (place.folder / "current.env").read_text() == "export BY=hand\n"
    assert place.shelf.state() == State()


def test_a_worker_that_nobody_knows_cannot_come_back(place: Place) -> None:
    failed = place.record("broken")
    with pytest.raises(ReleaseError, match="deploy it by hand") as returned:
        put_in_place(failed, place.yard())
    assert returned.value.code == "release-not-well"
    assert place.seen() == ("", "", "broken")
    assert place.shelf.state() == State()


def test_what_cannot_come_back_holds_nothing_else_up(place: Place) -> None:
    place.release("1.0")
    failed = place.record("broken")
    (place.folder / "refuse").touch()
    assert code(lambda: put_in_place(failed, place.yard())) == "release-not-returned"
    assert place.seen() == ("1.0", "1.0", "1.0")
    journal = place.shelf.state().journal
    assert journal is not None and journal.stage == "returning"
    (place.folder / "refuse").unlink()
    assert code(lambda: put_in_place(failed, place.yard())) == "release-returned"
    assert place.shelf.state().journal is None


def test_half_in_place_and_damaged_it_is_taken_back(place: Place) -> None:
    place.release("1.0")
    second = place.record("1.1")
    count, _ = cut_at(20)
    with pytest.raises(Cut):
        put_in_place(second, place.yard(count))
    (place.objects.files(second.parts["site"]) / "index.html").unlink()
    with pytest.raises(ReleaseError, match="damaged") as returned:
        put_in_place(second, place.yard())
    assert returned.value.code == "release-returned"
    assert place.seen() == ("1.0", "1.0", "1.0")


@pytest.mark.parametrize("number", range(1, 32))
def test_cut_off_at_any_call_the_same_again_ends_right(place: Place, number: int) -> None:
    place.release("1.0")
    count, calls = cut_at(number)
    yard = place.yard(count)
    try:
        put_in_place(place.record("1.1", shelf=yard.shelf), yard)
        assert calls[0] < number
    except Cut:
        put_in_place(place.record("1.1"), place.yard())
    assert place.seen() == ("1.1", "1.1", "1.1")
    assert len(place.shelf.history().releases) == 2
    count, _ = cut_at(number)
    try:
        roll_back(None, place.yard(count), agree, force=False)
    except Cut:
        if place.shelf.state().active == 2:
            place.back()
    assert place.seen() == ("1.0", "1.0", "1.0")
    state = place.shelf.state()
    assert (state.active, state.journal) == (3, None)
    assert verify_releases(place.shelf) == []


@pytest.mark.parametrize("number", range(1, 36, 2))
def test_cut_off_while_it_is_taken_back_the_old_one_is_there_in_the_end(
    place: Place, number: int
) -> None:
    place.release("1.0")
    failed = place.record("broken")
    count, _ = cut_at(number)
    try:
        put_in_place(failed, place.yard(count))
    except Cut:
        assert code(lambda: put_in_place(failed, place.yard())) == "release-returned"
    except ReleaseError as error:
        assert error.code == "release-returned"
    assert place.seen() == ("1.0", "1.0", "1.0")
    assert place.shelf.state().journal is None


def test_what_is_half_done_is_ended_before_anything_else(place: Place) -> None:
    place.release("1.0")
    second = place.record("1.1")
    count, _ = cut_at(20)
    with pytest.raises(Cut):
        put_in_place(second, place.yard(count))
    assert place.shelf.state().journal is not None
    third = place.record("1.2")
    assert code(lambda: put_in_place(third, place.yard())) == "release-unfinished"
    assert code(place.back) == "rollback-unfinished"
    put_in_place(second, place.yard())
    put_in_place(third, place.yard())
    assert place.seen() == ("1.2", "1.2", "1.2")


def test_one_command_at_a_time(place: Place) -> None:
    with place.shelf.hold():
        other = Place(place.folder)
        assert code(other.shelf.hold().__enter__) == "release-running"
    with place.shelf.hold():
        pass


def test_damage_is_found_and_recording_again_mends_it(place: Place) -> None:
    first = place.release("1.0")
    place.release("1.1")
    index = place.objects.files(first.parts["site"]) / "index.html"
    for spoil in (
        lambda: index.write_text("other"),
        index.unlink,
        lambda: index.with_name("more").touch(),
        lambda: (index.parent.parent / "manifest").write_text("[]\n"),
        lambda: index.with_name("link").symlink_to("index.html"),
    ):
        spoil()
        assert verify_releases(place.shelf)
        assert code(lambda: place.back()) == "rollback-damaged"
        assert place.seen()[0] == "1.1"
        # The record stays as it was; what it consists of is whole again.
        assert place.record("1.0") == first
        assert verify_releases(place.shelf) == []
    assert place.back().restores == 1


def test_a_ledger_that_is_newer_than_the_old_release_is_a_doubt(place: Place) -> None:
    place.witness.ledger_schema = 3
    place.release("1.0")
    place.witness.ledger_schema = 4
    place.release("1.1")
    assert code(place.back) == "rollback-doubtful"
    assert place.seen()[0] == "1.1"
    assert place.back(force=True).restores == 1


def test_a_drifted_place_is_put_right_and_a_folder_is_never_replaced(place: Place) -> None:
    first = place.release("1.0")
    (place.folder / "current.env").write_text("export BY=hand\n")
    put_in_place(first, place.yard())
    assert place.seen() == ("1.0", "1.0", "1.0")
    (place.folder / "current").unlink()
    (place.folder / "current").mkdir()
    assert code(lambda: put_in_place(first, place.yard())) == "site-current-no-link"


@pytest.mark.parametrize(
    ("health", "said", "ends"),
    [
        ('{"status": "failing"}', "something fails", "release-not-well"),
        ('{"status": "ok", "mode": "live"}', "another mode", "release-returned"),
        ("<html>", "something fails", "release-not-well"),
    ],
)
def test_health_must_say_what_was_recorded(place: Place, health: str, said: str, ends: str) -> None:
    release = place.record("1.0", worker=False)
    place.witness.health = health
    with pytest.raises(ReleaseError) as failed:
        put_in_place(release, place.yard())
    # What fails failed before, too; of which mode the store was then, nobody recorded.
    assert failed.value.code == ends
    assert said in failed.value.message
    assert "/health tells another version" not in failed.value.message


def test_the_store_version_is_asked_where_it_was_recorded(place: Place) -> None:
    release = replace(place.record("1.0", worker=False), store_version="2")
    with pytest.raises(ReleaseError, match="another version"):
        put_in_place(release, place.yard())


def test_a_version_stands_for_one_thing(place: Place) -> None:
    place.record("1.0")
    history = place.shelf.history()
    other = Named("1.0", "another revision")
    parts = history.releases[0].parts
    assert code(lambda: decide_release(history, State(), other, parts, "")) == (
        "release-version-taken"
    )
    assert code(lambda: decide_release(history, State(), Named("2", ""), {}, "")) == "release-empty"


def test_parts_that_are_not_given_stay_as_they_are(place: Place) -> None:
    first = place.release("1.0")
    history, state = place.shelf.history(), place.shelf.state()
    given: dict[Part, str] = {"site": "ab" * 32}
    second = decide_release(history, state, Named("1.1", ""), given, NOW.isoformat())
    assert second.parts == {**first.parts, **given}
    assert (second.number, second.previous) == (2, first.digest)


def test_what_is_no_plain_file_is_no_part(place: Place) -> None:
    folder = place.tree("site", "index.html", "x")
    (folder / "link").symlink_to("index.html")
    assert code(lambda: place.shelf.add_folder(folder)) == "part-unusable"
    empty = place.folder / "empty"
    empty.mkdir()
    assert code(lambda: place.shelf.add_folder(empty)) == "part-unusable"
    assert code(lambda: place.shelf.add_folder(place.folder / "nowhere")) == "part-unusable"
    assert list(place.shelf.objects()) == []


@st.composite
def histories(draw: st.DrawFn) -> list[Release]:
    found: list[Release] = []
    for number in range(1, draw(st.integers(1, 5)) + 1):
        parts = draw(st.dictionaries(st.sampled_from(PARTS), DIGESTS, min_size=1))
        ordered = {part: parts[part] for part in PARTS if part in parts}
        found.append(
            Release(
                number, f"v{number}", draw(TEXTS), draw(TEXTS), ordered,
                found[-1].digest if found else "",
                draw(st.none() | st.integers(1, number)), draw(TEXTS),
            )
        )  # fmt: skip
    return found


@given(histories(), st.data())
def test_records_are_read_as_they_were_and_every_change_is_seen(
    releases: list[Release], data: st.DataObject
) -> None:
    files = [(one.name, encode_record(one)) for one in releases]
    assert read_history(data.draw(st.permutations(files))) == History(tuple(releases))
    at = data.draw(st.integers(0, len(files) - 1))
    name, text = files[at]
    place = data.draw(st.integers(0, len(text) - 2))
    spoiled = text[:place] + chr((ord(text[place]) + 1) % 127 or 32) + text[place + 1 :]
    found = read_history([*files[:at], (name, spoiled), *files[at + 1 :]])
    assert found.problems or found.releases == tuple(releases)
    if at < len(files) - 1:
        assert read_history(files[:at] + files[at + 1 :]).problems


@given(
    st.none() | st.integers(1),
    st.dictionaries(st.integers(1), st.builds(Seen, TEXTS, st.none() | st.integers(0))),
    st.dictionaries(st.sampled_from(PARTS), TEXTS),
    st.sampled_from(("switching", "returning")),
    TEXTS,
)
def test_the_state_is_read_as_it_was(active, good, before, stage, reason) -> None:  # type: ignore[no-untyped-def]
    ordered = {part: before[part] for part in PARTS if part in before}
    journal = Journal(7, tuple(ordered), ordered, stage, reason)
    for one in (State(active, good), State(active, good, journal)):
        assert parse_state(encode_state(one)) == one
    assert code(lambda: parse_state('{"active": 1}')) == "release-state-damaged"


def test_a_configuration_holds_names_and_references_and_no_secret() -> None:
    kept = parse_config(
        "# a comment that may hold anything\n"
        "export SHIMMY_STORE_MODE=test\n"
        "SHIMMY_STORE_MAIL_FROM='Shimmy <a@example.com>'\n"
        "export SHIMMY_STORE_KEYGEN_TOKEN_FILE='/a b/token'\n"
        'export SHIMMY_STORE_SECRET="$(keyring get shimmy-ops/live store-secret)"\n'
        "export SHIMMY_STORE_MAIL=smtp://127.0.0.1:25\n"
        f"export SHIMMY_STORE_KEYGEN_PUBLIC_KEY={'0a' * 32}\n"
    )
    assert kept.mode == "test"
    assert "comment" not in kept.text() and "'/a b/token'" in kept.text()
    assert parse_config(kept.text()) == kept


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("export SHIMMY_STORE_STRIPE_KEY=sk_test_x", "STRIPE_KEY holds a secret"),
        ("export SHIMMY_STORE_SECRET=abc", "SECRET holds a secret"),
        (f"export SHIMMY_STORE_KEYGEN_PUBLIC_KEY={'0a' * 33}", "PUBLIC_KEY holds a secret"),
        ("export SHIMMY_STORE_WEBHOOK_SECRETS=abc", "WEBHOOK_SECRETS holds a secret"),
        ("export SHIMMY_STORE_OPERATOR_TOKEN=abc", "OPERATOR_TOKEN holds a secret"),
        ("export SHIMMY_STORE_MAIL=smtp://a:b@mail.example", "MAIL holds a secret"),
        ("export SHIMMY_STORE_MAIL=resend://x@api.resend.com", "MAIL holds a secret"),
        ("export SHIMMY_STORE_LEDGER=postgresql://a:b@host/x", "LEDGER holds a secret"),
        ("export SHIMMY_STORE_URL=$(id)", "a shell would run"),
        ("export SHIMMY_STORE_URL=`id`", "a shell would run"),
        ("export A=1; rm -rf /", "no NAME=value"),
        ("export 'A", "quotes do not end"),
        ("rm -rf /", "no NAME=value"),
        ("export A=1\nexport A=2", "line 2: A is there twice"),
        ("", "holds no variable"),
    ],
)
def test_a_line_that_no_release_may_hold_is_named_and_not_repeated(line: str, said: str) -> None:
    with pytest.raises(ReleaseError) as refused:
        parse_config(line)
    assert said in refused.value.message
    value = line.partition("=")[2]
    assert len(value) < 6 or value not in refused.value.message


@given(st.text(max_size=60))
def test_no_text_breaks_the_reading_of_a_configuration(text: str) -> None:
    try:
        kept = parse_config(text)
    except ReleaseError as error:
        assert error.code == "config-refused"
    else:
        assert parse_config(kept.text()) == kept
