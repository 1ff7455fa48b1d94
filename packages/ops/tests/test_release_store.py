"""Releases of a store that really runs: good ones, a broken one that comes back, and a rollback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from released_store import ReleasedStore, open_released_store
from store_server import eventually

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReleasedStore]:
    with open_released_store(tmp_path, monkeypatch) as opened:
        yield opened


def test_a_broken_release_comes_back_by_itself_and_a_good_one_by_hand(
    released: ReleasedStore, capsys: Capture
) -> None:
    town = released.town

    def record(version: str, env: Path, words: str, patience: int = 60) -> int:
        given = ("--env", str(env), "--site", str(released.site(words)))
        asked = ("--version", version, "--activate", "--patience", str(patience))
        return town.run(capsys, "release", "record", *asked, *given).code

    assert record("1.0", released.env, "the first") == 0
    assert released.healthy() and "the first" in released.served()
    first = released.pid()

    wrong = released.folder / "wrong-token"
    wrong.touch(mode=0o600)
    wrong.write_text("prod-of-nobody")
    broken = released.changed_env(KEYGEN_TOKEN_FILE=str(wrong))
    assert record("1.1", broken, "the broken one", patience=3) == 1
    assert "the first" in released.served()
    # The store that is started again has the same patience, and a busy machine may need longer.
    eventually(released.healthy)
    assert (released.folder / "current.env").read_text() == _normal(released.env)
    assert released.pid() != first
    state = town.run(capsys, "release", "status")
    assert state.code == 0 and "in place       1 (1.0)" in state.out

    other = released.changed_env(MAIL_FROM="Another <licences@shimmy.example>")
    assert record("1.2", other, "the second") == 0
    assert "the second" in released.served()
    assert "Another" in (released.folder / "current.env").read_text()
    back = town.run(capsys, "rollback", "--patience", "60")
    assert back.code == 0, back.err
    assert "release 1 (1.0) is in place and answers" in back.err
    assert released.healthy() and "the first" in released.served()
    listed = town.run(capsys, "release", "list").out.splitlines()
    assert listed[0].startswith("* 4") and listed[0].endswith("release 1 again")
    assert [line[0] for line in listed] == ["*", "+", " ", "+"]
    assert '"ledger schema": null' not in town.run(capsys, "release", "show", "--json").out
    assert town.run(capsys, "release", "verify").code == 0


def test_a_store_that_does_not_start_again_is_told_from_one_that_does(
    released: ReleasedStore, capsys: Capture
) -> None:
    town, site = released.town, ("--site", str(released.site("the only one")))
    asked = ("release", "record", "--activate", *site)
    done = town.run(capsys, *asked, "--version", "1.0", "--env", str(released.env))
    assert done.code == 0, done.err
    (released.folder / "restart.sh").write_text("exit 0\n")
    other = released.changed_env(MAIL_FROM="Another <licences@shimmy.example>")
    patience = ("--patience", "1")
    kept = town.run(capsys, *asked, "--version", "1.1", "--env", str(other), *patience)
    assert kept.code == 1
    assert "the store was not restarted" in kept.err and "[release-returned]" in kept.err
    assert (released.folder / "current.env").read_text() == _normal(released.env)


def _normal(env: Path) -> str:
    lines = env.read_text().splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#"))
