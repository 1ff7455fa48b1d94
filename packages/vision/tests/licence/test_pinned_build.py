"""Wheels carry the licensor they were built for, and none can be talked into another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from licence_world import REPOSITORY

SANDBOX = json.loads((REPOSITORY / "contracts/sandbox-licensor.json").read_text())
LIVE = {
    "mode": "live",
    "account": "0f5b1c0a-6f0e-4b3e-9d53-0c2d3f1a7b11",
    "product": "7a2d9b44-3b1f-4a53-8f6e-5d1c2b3a4e5f",
    "public_key": "ab" * 32,
    "api_url": "https://api.keygen.sh",
    "pricing_url": "https://shimmy.example/pricing",
    "portal_url": "https://shimmy.example/view-license",
}


def _build(
    folder: Path, licensor: object | None, *, unsealed: str = "1"
) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "SHIMMY_LICENSOR"}
    environment["SHIMMY_UNSEALED"] = unsealed
    if licensor is not None:
        path = folder / "licensor.json"
        path.write_text(json.dumps(licensor))
        environment["SHIMMY_LICENSOR"] = str(path)
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=REPOSITORY / "packages/vision",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def _pinned(folder: Path, extra: str = "") -> subprocess.CompletedProcess[str]:
    """What a program that has nothing but the wheel says of its licensor."""
    (wheel,) = folder.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert names.count("shimmy_vision/domain/licence/pinned.py") == 1
    code = (
        f"import sys; sys.path.insert(0, {str(wheel)!r});"
        "from shimmy_vision.domain.licence import pinned, licensor;"
        "import dataclasses, json; print(json.dumps(dataclasses.asdict(pinned.PINNED)));" + extra
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_a_wheel_without_a_licensor_is_a_sandbox_build(tmp_path: Path) -> None:
    done = _build(tmp_path, None)
    assert done.returncode == 0, done.stderr
    assert json.loads(_pinned(tmp_path).stdout) == SANDBOX


def test_a_live_wheel_pins_its_licensor_and_takes_no_other_server(tmp_path: Path) -> None:
    done = _build(tmp_path, LIVE)
    assert done.returncode == 0, done.stderr
    assert json.loads(_pinned(tmp_path).stdout) == LIVE
    asked = _pinned(tmp_path, "licensor.choose_api_url(pinned.PINNED, 'http://127.0.0.1:7410')")
    assert "the licence server of this build is fixed" in asked.stderr


@pytest.mark.parametrize("unsealed", ["", "0", "yes"])
def test_a_live_wheel_without_a_signed_library_is_built_only_where_that_is_said(
    tmp_path: Path, unsealed: str
) -> None:
    done = _build(tmp_path, LIVE, unsealed=unsealed)
    assert done.returncode != 0
    assert "SHIMMY_PAYLOAD" in done.stderr
    assert not list(tmp_path.glob("*.whl"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (SANDBOX, "mode must be live"),
        ({**LIVE, "public_key": SANDBOX["public_key"]}, "public_key is the sandbox's"),
        ({**LIVE, "account": SANDBOX["account"]}, "account is the sandbox's"),
        ({**LIVE, "api_url": "http://api.keygen.sh"}, "api_url of a live build must be https"),
        ({**LIVE, "api_url": "https://127.0.0.1"}, "api_url of a live build must be https"),
        ({**LIVE, "extra": "x"}, "exactly these fields"),
        ({**LIVE, "public_key": "zz"}, "public_key must be 64 hex digits"),
        ([], "exactly these fields"),
    ],
)
def test_a_wrong_licensor_stops_the_build(tmp_path: Path, wrong: object, said: str) -> None:
    done = _build(tmp_path, wrong)
    assert done.returncode != 0
    assert said in done.stderr
    assert not list(tmp_path.glob("*.whl"))
