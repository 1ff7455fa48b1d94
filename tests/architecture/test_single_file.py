"""The single file's parts: divided, packed, unpacked when imported, and held against digests."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
import tracemalloc
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
sys.path.insert(0, str(SCRIPTS))  # Scripts import each other by name.
BUILD = _script("build_single_file")
sys.path.remove(str(SCRIPTS))
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
    # As if written long ago: what is written twice within a tick of the clock looks alike.
    os.utime(kept, (1, 1))
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


def test_a_pipe_where_the_library_is_kept_keeps_nobody_waiting(
    built: tuple[Path, ModuleType], tmp_path: Path
) -> None:
    file, made = built
    native = [ENTRY.Member(*one) for one in made.INDEX["lonely_part"]]
    index = {"shimmy_vision.settings": native}
    parts = ENTRY.Parts(file, ENTRY.start_of_parts(file, made.LENGTH), index, tmp_path)
    place = ENTRY.place_library(parts, native, tmp_path / "cache")
    kept = place / "data.bin"
    whole = kept.read_bytes()
    kept.unlink()
    os.mkfifo(kept)
    assert ENTRY.place_library(parts, native, tmp_path / "cache") == place
    assert kept.read_bytes() == whole


def test_a_part_is_written_through_nothing_that_lies_there(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    name = f".data.bin.{os.getpid()}.{threading.get_ident()}"
    (tmp_path / name).symlink_to(victim)
    with pytest.raises(FileExistsError):
        ENTRY._put(tmp_path / "data.bin", b"ours")
    assert victim.read_text() == "kept"


def test_a_part_that_unpacks_to_more_than_it_says_is_stopped_there() -> None:
    bomb = PARTS.zstd.compress(bytes(32 << 20), level=3)
    tracemalloc.start()
    try:
        data = ENTRY._decompress(bomb, 1000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(data) <= 1001
    assert peak < 8 << 20


def test_a_part_is_known_by_what_is_in_it(built: tuple[Path, ModuleType], tmp_path: Path) -> None:
    parts = _open(built, tmp_path)
    assert parts.identify("lonely_part") != parts.identify("other_part")
    assert len(parts.identify("lonely_part")) == 64
    assert parts.identify("missing") == ""
    assert not (tmp_path / "lonely_part").exists()


def test_what_openvino_needs_for_this_cpu_goes_in_and_no_more() -> None:
    inside = (
        *("openvino/libs/libopenvino.so.2641", "openvino/libs/libopenvino_intel_cpu_plugin.so"),
        *("openvino/libs/libopenvino_ir_frontend.so.2641", "openvino/libs/libtbb.so.12"),
        *("openvino/libs/openvino.dll", "openvino/libs/openvino_intel_cpu_plugin.dll"),
        *("openvino/_pyopenvino.cpython-311-x86_64-linux-gnu.so", "numpy/openvino/tools/x"),
    )
    outside = (
        *("openvino/libs/libopenvino_intel_gpu_plugin.so", "openvino/libs/cache.json"),
        *("openvino/libs/libopenvino_intel_npu_plugin.so", "openvino/libs/tbb.pc"),
        *("openvino/libs/libopenvino_onnx_frontend.so.2641", "openvino/tools/ovc/main.py"),
        *("openvino/libs/libopenvino_tensorflow_lite_frontend.so.2641", "openvino/include/x.h"),
        *("openvino/libs/libopenvino_auto_batch_plugin.so", "openvino/libs/libopenvino_c.so.2641"),
    )
    entries = [(name, "/source", "BINARY") for name in (*inside, *outside)]
    assert tuple(one[0] for one in PARTS.without_unused(entries)) == inside


@pytest.mark.parametrize("wrong", ["nothing", "unsigned", "half", "mode", "right", "sandbox"])
def test_a_release_is_not_built_without_a_signed_library(
    wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mode = "development" if wrong in ("unsigned", "mode") else "release"
    (tmp_path / "manifest.json").write_text(json.dumps({"mode": mode}))
    if wrong not in ("unsigned", "half"):
        (tmp_path / "manifest.sig").write_bytes(bytes(64))
    (tmp_path / "public-key.txt").write_text("ab" * 32)
    payload = None if wrong in ("nothing", "sandbox") else tmp_path
    environment = {} if wrong == "sandbox" else {"SHIMMY_LICENSOR": "licensor.json"}
    if wrong in ("right", "sandbox"):
        BUILD.refuse_unsealed_release(payload, environment)
        return
    with pytest.raises(SystemExit) as stopped:
        BUILD.refuse_unsealed_release(payload, environment)
    assert stopped.value.code not in (0, None)
    assert "--key" in capsys.readouterr().err + str(stopped.value.code)


def test_no_action_of_a_workflow_can_be_moved_to_another_commit() -> None:
    found = [
        (path.name, line.strip())
        for path in sorted((SCRIPTS.parent / ".github/workflows").glob("*.yml"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.match(r"\s*(- )?uses:", line)
    ]
    assert len(found) > 10
    pinned = re.compile(r"(- )?uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert [one for one in found if not pinned.fullmatch(one[1])] == []


def test_the_scripts_of_a_release_are_sound_bash() -> None:
    for name in ("dist.sh", "dist_test.sh"):
        subprocess.run(["bash", "-n", SCRIPTS / name], check=True)
