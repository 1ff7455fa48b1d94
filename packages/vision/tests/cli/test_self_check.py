"""``shimmy self-check``: what is whole is said to be, and each thing that is not is found."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import platformdirs
import pytest
from payloads import PUBLIC, TinyPayloads, compile_hostile, compile_tiny

from shimmy_vision import settings
from shimmy_vision.adapters.installation import built_files, own_folders
from shimmy_vision.cli.main import main
from shimmy_vision.domain.diagnosis import judge_encoder
from shimmy_vision.errors import UsageError


def _record(folder: Path, names: tuple[str, ...]) -> str:
    rows = []
    for name in names:
        digest = hashlib.sha256((folder / name).read_bytes()).digest()
        rows.append(f"{name},sha256={base64.urlsafe_b64encode(digest).decode().rstrip('=')},1")
    return "\n".join([*rows, "package.dist-info/RECORD,,"])


def test_a_checkout_passes_and_says_that_it_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("STATE", "CACHE", "MODEL"):
        monkeypatch.setenv(f"SHIMMY_{name}_DIR", str(tmp_path / name))
    assert main(["self-check", "--json"]) == 0
    rows = {one["subject"]: one for one in json.loads(capsys.readouterr().out)}
    assert "checkout" in rows["program"]["found"]
    assert rows["native library"]["level"] == rows["imports"]["level"] == "ok"
    assert {"state folder", "cache folder", "models folder", "packed library"} <= set(rows)
    assert not (tmp_path / "MODEL").exists()


def test_a_changed_a_missing_and_a_cut_file_of_a_wheel_are_found(tmp_path: Path) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(name * 9)
    record = _record(tmp_path, ("a.py", "b.py"))
    assert built_files.judge_record(record, tmp_path).level == "ok"
    (tmp_path / "b.py").write_text("b.py" * 8)
    changed = built_files.judge_record(record, tmp_path)
    assert (changed.level, changed.found) == ("problem", "changed or missing: b.py")
    (tmp_path / "a.py").unlink()
    assert built_files.judge_record(record, tmp_path).found == "changed or missing: a.py and 1 more"
    assert built_files.judge_record("", tmp_path).level == "problem"


@pytest.mark.parametrize(("outcome", "level"), [((3, 4_000_000), "ok"), (None, "problem")])
def test_a_single_file_is_held_against_its_own_parts(
    outcome: tuple[int, int] | None, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check() -> tuple[int, int]:
        if outcome is None:
            raise ImportError("This file is damaged.")
        return outcome

    parts = SimpleNamespace(PARTS=SimpleNamespace(check=check))
    monkeypatch.setitem(sys.modules, "shimmy_single_file", parts)
    assert built_files.check_program().level == level


def test_a_packed_library_is_read_to_the_last_byte(tmp_path: Path) -> None:
    tiny = TinyPayloads(compile_tiny(tmp_path / "built"), compile_hostile(tmp_path))
    folder = tmp_path / "packed"
    manifest = tiny.pack(folder)
    whole = built_files.check_packed_library(folder, PUBLIC)
    assert (whole.level, f"{len(manifest.files)} files" in whole.found) == ("ok", True)
    last = folder / f"{manifest.files[-1].name}.zst"
    last.write_bytes(last.read_bytes()[:-1])
    broken = built_files.check_packed_library(folder, PUBLIC)
    assert (broken.level, "payload-damaged" in broken.found) == ("problem", True)
    assert built_files.check_packed_library(tmp_path / "nothing", "").level == "note"
    assert built_files.check_packed_library(tmp_path / "nothing", PUBLIC).level == "problem"


def test_an_import_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_library_of_this_test.py").write_text("raise OSError('libfoo.so')")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = built_files.check_imports(("json", "broken_library_of_this_test"))
    assert (found.level, found.found) == ("problem", "broken_library_of_this_test: OSError")


def test_a_folder_that_cannot_be_used_is_a_note_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = own_folders.check_folder("state folder", tmp_path / "file" / "inside")
    assert (found.level, bool(found.remedy)) == ("note", True)
    assert own_folders.check_folder("state folder", tmp_path).level == "ok"
    assert own_folders.check_folder("state folder", tmp_path / "new").level == "ok"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("variable", ["SHIMMY_STATE_DIR", "SHIMMY_CACHE_DIR", "SHIMMY_MODEL_DIR"])
def test_a_user_without_a_home_is_told_what_to_name(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that runs under a number which nobody has entered."""

    def homeless(*_: object) -> str:
        raise RuntimeError("could not determine the home directory")

    for name in ("user_state_dir", "user_cache_dir", "user_data_dir"):
        monkeypatch.setattr(platformdirs.PlatformDirs, name, property(homeless))
    folders = {f"SHIMMY_{name}_DIR": str(tmp_path / name) for name in ("STATE", "CACHE", "MODEL")}
    assert settings.read_settings(folders).cache_directory == tmp_path / "CACHE"
    with pytest.raises(UsageError) as refused:
        settings.read_settings({**folders, variable: ""})
    assert (refused.value.code, variable in refused.value.message) == ("home-unknown", True)
    with pytest.raises(UsageError) as refused:
        settings.read_settings({**folders, variable: "~nobody-of-this-name/x"})
    assert (refused.value.code, variable in refused.value.message) == ("home-unknown", True)


@pytest.mark.parametrize("addable", [True, False])
def test_nobody_is_told_to_add_a_package_to_a_single_file(addable: bool) -> None:
    slow = judge_encoder("libmtmd: OpenVINO is not installed.", usable=False, addable=addable)
    assert (slow.level, "pip install" in slow.remedy) == ("note", addable)
    assert slow.remedy
    assert judge_encoder("OpenVINO", usable=True, addable=addable).remedy == ""
