"""A wheel carries the payload it was built for, and pins who signed it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from licence_world import REPOSITORY
from payloads import KEY, PUBLIC, TinyPayloads

ASIDE = ("wheel-tag.txt", "public-key.txt")
TAG = "py3-none-manylinux_2_34_x86_64"


def _payload(tiny: TinyPayloads, folder: Path, *, signed: bool) -> Path:
    tiny.pack(folder, key=KEY if signed else None)
    (folder / "wheel-tag.txt").write_text(TAG)
    (folder / "public-key.txt").write_text(PUBLIC if signed else "")
    return folder


def _build(payload: Path, out: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "SHIMMY_LICENSOR"}
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=REPOSITORY / "packages/vision",
        env={**environment, "SHIMMY_PAYLOAD": str(payload), **more},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_wheel_carries_its_payload_and_pins_the_signers_key(
    tiny: TinyPayloads, tmp_path: Path
) -> None:
    payload = _payload(tiny, tmp_path / "payload", signed=True)
    done = _build(payload, tmp_path)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith(f"{TAG}.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert len(names) == len(set(names))
        place = "shimmy_vision/adapters/payload/packed/"
        carried = {name.removeprefix(place) for name in names if name.startswith(place)}
        assert carried == {one.name for one in payload.iterdir() if one.name not in ASIDE}
        assert PUBLIC in archive.read("shimmy_vision/domain/payload/pinned.py").decode()
        (metadata,) = (name for name in names if name.endswith("METADATA"))
        needs = [
            line
            for line in archive.read(metadata).decode().splitlines()
            if line.startswith("Requires-Dist: llama-cpp-python")
        ]
        # Only who asks for an unsealed install gets the compiler's work.
        assert all("extra == 'unsealed'" in line for line in needs)
        archive.extractall(tmp_path / "installed")
    code = (
        "from shimmy_vision.settings import read_settings, library_places;"
        "from shimmy_vision.adapters.payload.payload_vault import load_packed, describe_library;"
        "s = read_settings();"
        "print(describe_library(s.library_directory));"
        "l = load_packed(s.library_directory, library_places(s), lambda *_: None);"
        "print(l.libraries['top'].answer())"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "PYTHONPATH": str(tmp_path / "installed"),
            "SHIMMY_STATE_DIR": str(tmp_path / "state"),
            "SHIMMY_CACHE_DIR": str(tmp_path / "cache"),
        },
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.stdout.split("\n")[:2] == ["sealed payload 5", "42"], said.stderr
    # Without its payload a release falls back to nothing, though llama-cpp-python is here.
    shutil.rmtree(tmp_path / "installed" / place)
    said = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.stdout == "refused: payload-manifest-missing\n"
    assert "payload-manifest-missing" in said.stderr


@pytest.mark.parametrize("wrong", ["unsigned-live", "half", "nowhere"])
def test_a_payload_that_does_not_fit_stops_the_build(
    tiny: TinyPayloads, tmp_path: Path, wrong: str
) -> None:
    payload, more = _payload(tiny, tmp_path / "payload", signed=wrong == "half"), {}
    if wrong == "unsigned-live":
        sandbox = json.loads((REPOSITORY / "contracts/sandbox-licensor.json").read_text())
        live = {
            **sandbox,
            "mode": "live",
            "account": "0f5b1c0a-6f0e-4b3e-9d53-0c2d3f1a7b11",
            "public_key": "ab" * 32,
            "api_url": "https://api.keygen.sh",
            "pricing_url": "https://shimmy.example/pricing",
            "portal_url": "https://shimmy.example/view-license",
        }
        (tmp_path / "licensor.json").write_text(json.dumps(live))
        more = {"SHIMMY_LICENSOR": str(tmp_path / "licensor.json")}
    if wrong == "half":
        (payload / "manifest.sig").unlink()
    if wrong == "nowhere":
        payload = tmp_path / "nowhere"
    done = _build(payload, tmp_path, **more)
    assert done.returncode != 0
    assert "SHIMMY_PAYLOAD" in done.stderr
    assert not list(tmp_path.glob("*.whl"))


def _elf_needs() -> ModuleType:
    path = REPOSITORY / "scripts/elf_needs.py"
    spec = importlib.util.spec_from_file_location("elf_needs_of_this_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_wheel_is_tagged_by_what_its_libraries_ask_for(
    tiny: TinyPayloads, tmp_path: Path
) -> None:
    elf = _elf_needs()
    path = tmp_path / "libtiny-top.so.0"
    path.write_bytes(tiny.libraries[-1].data)
    needs = elf.read_needs("", path)
    assert needs.soname == "libtiny-top.so.0"
    assert "libtiny-base.so.0" in needs.needed
    asked = {"GLIBC": (2, 14), "GLIBCXX": (3, 4, 29)}
    other = elf.LibraryNeeds("libx.so.0", "0", (), asked)
    assert elf.wheel_tag([other], "x86_64") == "py3-none-manylinux_2_34_x86_64"
    newer = elf.LibraryNeeds("liby.so.0", "0", (), {"GLIBC": (2, 38)})
    assert elf.wheel_tag([other, newer], "aarch64") == "py3-none-manylinux_2_38_aarch64"
