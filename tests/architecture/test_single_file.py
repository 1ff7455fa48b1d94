"""The single file's parts: divided, packed, unpacked when imported, and held against digests."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_under_test", SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


ENTRY, PARTS = _script("single_file_entry"), _script("single_file_parts")
# As PyInstaller ends its archive: magic, the archive's length, and what follows.
TAIL = b"MEI\014\013\012\013\016" + (1000 + 88).to_bytes(4, "big") + bytes(76)


@pytest.fixture
def built(tmp_path: Path) -> tuple[Path, ModuleType]:
    """A file as ``join`` makes it, and a module as ``write_index`` does."""
    sources = tmp_path / "sources"
    sources.mkdir()
    entries = []
    for name in ("lonely_part/__init__.py", "lonely_part/data.bin", "other_part/__init__.py"):
        source = sources / name.replace("/", "-")
        source.write_bytes(b"ANSWER = 42\n" if name.endswith("py") else os.urandom(5000))
        entries.append((name, str(source), "DATA"))
    core, parts = PARTS.divide([*entries, ("libpython3.so", str(sources), "BINARY")])
    assert [one[0] for one in core] == ["libpython3.so"]
    assert sorted(parts) == ["lonely_part", "other_part"]
    index = PARTS.pack_parts(parts, tmp_path / "parts.bin")
    PARTS.write_index(index, tmp_path, [], [])
    spec = importlib.util.spec_from_file_location("made", tmp_path / "shimmy_single_file.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    file = tmp_path / "shimmy"
    file.write_bytes(b"loader" + (tmp_path / "parts.bin").read_bytes() + bytes(1000) + TAIL)
    return file, made


def _open(built: tuple[Path, ModuleType], folder: Path) -> ENTRY.Parts:  # type: ignore[name-defined]
    file, made = built
    index = {name: [ENTRY.Member(*one) for one in part] for name, part in made.INDEX.items()}
    start = ENTRY.start_of_parts(file, made.LENGTH)
    assert start == len(b"loader")
    return ENTRY.Parts(file, start, index, folder)


def test_a_part_is_there_once_it_is_imported_and_not_before(
    built: tuple[Path, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "unpacked"
    folder.mkdir()
    parts = _open(built, folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "meta_path", [parts, *sys.meta_path])
    assert [*folder.iterdir()] == []
    import lonely_part  # type: ignore[import-not-found]

    monkeypatch.delitem(sys.modules, "lonely_part")
    assert lonely_part.ANSWER == 42
    assert [one.name for one in folder.iterdir()] == ["lonely_part"]
    assert (folder / "lonely_part/data.bin").stat().st_mode & 0o077 == 0
    assert parts.check() == (3, 5024)


@pytest.mark.parametrize("signature", [0, 9000, 1 << 20])
def test_what_a_system_signs_behind_it_moves_nothing(
    built: tuple[Path, ModuleType], tmp_path: Path, signature: int
) -> None:
    file, _ = built
    file.write_bytes(file.read_bytes() + bytes(signature))
    assert _open(built, tmp_path).check()[0] == 3


def test_one_other_byte_in_any_part_is_refused_by_name(
    built: tuple[Path, ModuleType], tmp_path: Path
) -> None:
    file, made = built
    whole = file.read_bytes()
    for members in made.INDEX.values():
        for path, offset, packed, _size, _digest in members:
            for place in (offset, offset + packed // 2, offset + packed - 1):
                changed = bytearray(whole)
                changed[len(b"loader") + place] ^= 1
                file.write_bytes(changed)
                with pytest.raises(ENTRY.PartError, match=path):
                    _open(built, tmp_path).check()


def test_a_file_that_was_cut_off_is_refused(built: tuple[Path, ModuleType], tmp_path: Path) -> None:
    file, made = built
    file.write_bytes(file.read_bytes()[: -len(TAIL)])
    with pytest.raises(ENTRY.PartError, match="damaged"):
        ENTRY.start_of_parts(file, made.LENGTH)


def test_a_library_that_was_changed_where_it_is_kept_is_put_right(
    built: tuple[Path, ModuleType], tmp_path: Path
) -> None:
    file, made = built
    native = [ENTRY.Member(*one) for one in made.INDEX["lonely_part"]]
    index = {"shimmy_vision.settings": native}
    parts = ENTRY.Parts(file, ENTRY.start_of_parts(file, made.LENGTH), index, tmp_path)
    place = ENTRY.place_library(parts, native, tmp_path / "cache")
    assert place is not None
    kept = place / "data.bin"
    whole, began = kept.read_bytes(), kept.stat().st_mtime_ns
    assert ENTRY.place_library(parts, native, tmp_path / "cache") == place
    assert kept.stat().st_mtime_ns == began
    kept.write_bytes(bytes(len(whole)))
    assert ENTRY.place_library(parts, native, tmp_path / "cache") == place
    assert kept.read_bytes() == whole
    (tmp_path / "victim").write_bytes(whole)
    kept.unlink()
    kept.symlink_to(tmp_path / "victim")
    ENTRY.place_library(parts, native, tmp_path / "cache")
    assert not kept.is_symlink()
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    assert ENTRY.place_library(parts, native, blocked) is None


def test_the_scripts_of_a_release_are_sound_bash() -> None:
    for name in ("dist.sh", "dist_test.sh"):
        subprocess.run(["bash", "-n", SCRIPTS / name], check=True)
