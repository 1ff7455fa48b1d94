"""Backups are made sealed, read back, rehearsed, and restored into an empty store."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from bought_customers import buyer, licence_now
from operated_town import OperatedTown
from provisioning_town import Ran
from second_store import open_second_store

from shimmy_ops.adapters.store.http_store_desk import HttpStoreDesk
from shimmy_ops.errors import DeskError
from shimmy_ops.wiring.backups import backup_place

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def test_a_backup_is_made_verified_rehearsed_and_restored(
    operated: OperatedTown, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = buyer(operated, "developer", "ada@example.com", machine="adas-machine")
    bob = buyer(operated, "lifetime", "bob@example.com")

    def ran(*argv: str) -> Ran:
        return operated.town.run(capsys, *argv)

    assert "[backup-none]" in ran("backup", "verify").err
    made = ran("backup", "make")
    assert made.code == 0, made.err
    assert "a backup key was made" in made.err
    assert "Keep a copy of the key elsewhere" in made.out
    (record,) = _records(operated)
    path = Path(record["file"])
    assert record.keys() == {"file", "made", "verified", "sha256", "rows"}
    assert record["verified"]
    assert record["rows"] > 4
    assert path.stat().st_mode & 0o777 == 0o600
    sealed = path.read_bytes()
    for secret in (ada.key, ada.email, bob.key, "adas-machine"):
        assert secret.encode() not in sealed
    assert list(path.parent.iterdir()) == [path]
    verified = ran("backup", "verify", str(path))
    assert verified.code == 0, verified.err
    assert "2 licences, 1 machines" in verified.out
    assert "ledger.ndjson" in verified.out
    drilled = ran("restore", "--drill")
    assert drilled.code == 0, drilled.err
    assert "customers: 2 rows, the same" in drilled.out
    taken_out = operated.folder / "ledger.ndjson"
    extracted = ran("backup", "extract", "--ledger", str(taken_out))
    assert extracted.code == 0, extracted.err
    assert taken_out.stat().st_mode & 0o777 == 0o600
    assert b"ada@example.com" in taken_out.read_bytes()
    again = ran("backup", "extract", "--ledger", str(taken_out))
    assert again.code == 1, "nothing is written over"
    assert not list(operated.folder.glob(".*.new"))
    full = ran("restore", "--yes", str(path))
    assert full.code == 0, "everything of the backup is there already"
    buyer(operated, "startup", "cyd@example.com")
    _lose(operated, bob.licence)
    with open_second_store(operated):
        monkeypatch.setattr("sys.stdin", io.StringIO("live\n"))
        unsure = ran("restore", str(path))
        assert (unsure.code, "[restore-not-confirmed]" in unsure.err) == (1, True)
        monkeypatch.setattr("sys.stdin", io.StringIO("sandbox\n"))
        restored = ran("restore", str(path))
        assert restored.code == 3, restored.err
        assert "customers: 2 rows, the same" in restored.out
        assert f"  {bob.licence}\n" in restored.out
        again = ran("restore", str(path), "--yes", "--licences")
        assert again.code == 0, again.err
        assert "no pages used: 1\n" in again.out
        attributes = licence_now(operated, bob)["attributes"]
        assert attributes["metadata"]["customer"] == bob.customer
        assert ran("restore", str(path), "--yes", "--licences").code == 0
        found = ran("support", "lookup", bob.customer)
        assert "plan lifetime" in found.out


def test_a_store_with_other_customers_is_never_restored_into(
    operated: OperatedTown, capsys: pytest.CaptureFixture[str]
) -> None:
    buyer(operated, "developer", "ada@example.com")
    assert operated.town.run(capsys, "backup", "make").code == 0
    with open_second_store(operated) as url:
        operated.town.sdk.v1.webhook_endpoints.create(
            {"url": f"{url}/stripe-webhook", "enabled_events": ["customer.updated"]}
        )
        customer = operated.town.sdk.v1.customers.create({"email": "cyd@example.com"})
        with_other = operated.town.run(capsys, "support", "lookup", customer.id, "--heal")
        assert with_other.code == 0, with_other.err
        refused = operated.town.run(capsys, "restore", "--yes")
        assert (refused.code, "[restore-refused]" in refused.err) == (1, True), refused.err
        assert "ledger-not-empty" in refused.err


def test_a_restore_does_not_bring_back_who_was_erased_since(
    operated: OperatedTown, capsys: pytest.CaptureFixture[str]
) -> None:
    ada = buyer(operated, "developer", "ada@example.com")
    buyer(operated, "startup", "bob@example.com")
    assert operated.town.run(capsys, "backup", "make").code == 0
    order = ("erase-customer", ada.customer, "--yes", "--end-subscriptions")
    assert operated.town.run(capsys, *order).code == 0
    _lose(operated, ada.licence)
    with open_second_store(operated):
        for _ in range(2):
            restored = operated.town.run(capsys, "restore", "--yes", "--licences")
            assert restored.code == 0, restored.err
            assert f"erased once more, as was asked since: {ada.customer}" in restored.out
        assert operated.town.admin.get(f"licenses/{ada.licence}").status_code == 404
        gone = operated.town.run(capsys, "support", "lookup", "ada@example.com")
        assert "[customer-unknown]" in gone.err
        there = operated.town.run(capsys, "support", "lookup", "bob@example.com")
        assert there.code == 0, there.err


def test_old_backups_go_but_never_the_last_verified_one(
    operated: OperatedTown, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "elsewhere"
    for _ in range(3):
        ran = operated.town.run(capsys, "backup", "make", "--out", str(out), "--keep", "2")
        assert ran.code == 0, ran.err
    records = _records(operated)
    assert len(records) == 2
    assert sorted(Path(one["file"]) for one in records) == sorted(out.iterdir())
    listed = operated.town.run(capsys, "backup", "list")
    assert listed.out.count("verified") == 2
    stranger = out / "something-else"
    stranger.write_text("not ours")
    assert operated.town.run(capsys, "backup", "make", "--out", str(out), "--keep", "1").code == 0
    assert len(_records(operated)) == 1
    assert stranger.exists()


def test_a_backup_of_another_key_profile_or_place_says_so(
    operated: OperatedTown, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert operated.town.run(capsys, "backup", "make").code == 0
    (record,) = _records(operated)
    copied = tmp_path / "copied.enc"
    shutil.copy(record["file"], copied)
    missing = operated.town.run(capsys, "backup", "verify", str(tmp_path / "none"))
    assert (missing.code, "[backup-file-unusable]" in missing.err) == (1, True)
    assert operated.town.run(capsys, "backup", "verify", str(copied)).code == 0
    assert _records(operated)[0]["file"] == str(copied)
    key = operated.folder / "secrets" / "backup-key"
    key.write_text("another-key-of-the-same-length-as-the-first\n")
    wrong = operated.town.run(capsys, "restore", "--yes", str(copied))
    assert (wrong.code, "[backup-key-differs]" in wrong.err) == (1, True)
    key.unlink()
    none = operated.town.run(capsys, "restore", "--drill", str(copied))
    assert (none.code, "[backup-key-missing]" in none.err) == (1, True)


def test_two_backups_at_once_do_not_make_a_key_each(
    operated: OperatedTown, capsys: pytest.CaptureFixture[str]
) -> None:
    records = backup_place(operated.profile(), operated.folder).records
    with records.alone():
        for order in (("backup", "make"), ("backup", "verify", "any")):
            busy = operated.town.run(capsys, *order)
            assert (busy.code, "[another-at-work]" in busy.err) == (75, True)
    assert not (operated.folder / "secrets" / "backup-key").exists()
    assert operated.town.run(capsys, "backup", "make").code == 0


def test_a_disk_that_takes_no_dump_is_said(operated: OperatedTown, tmp_path: Path) -> None:
    taken = tmp_path / "dump"
    taken.write_text("")
    with operated.desk() as desk:
        for act in (lambda: desk.dump(taken), lambda: desk.restore(tmp_path / "none")):
            with pytest.raises(DeskError) as said:
                act()
            assert said.value.code == "desk-file-unusable"


@pytest.mark.parametrize("said", ["\x1b]0;owned\x07", "x" * 500, {"a": 1}])
def test_what_answers_instead_of_the_store_steers_no_terminal(said: Any) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(409, json={"code": said})

    transport = httpx.MockTransport(answer)
    with (
        httpx.Client(base_url="http://store", transport=transport) as client,
        pytest.raises(DeskError) as refused,
    ):
        HttpStoreDesk(client, "token").alarms()
    assert "(no code)" in refused.value.message


def _records(operated: OperatedTown) -> list[Any]:
    path = operated.folder / operated.profile().state_folder / "backups.json"
    assert path.stat().st_mode & 0o777 == 0o600
    return list(json.loads(path.read_text()))


def _lose(operated: OperatedTown, licence: str) -> None:
    assert operated.town.admin.delete(f"licenses/{licence}").status_code == 204
