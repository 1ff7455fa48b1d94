"""``SHIMMY_ENCODER`` as a user sets it: the same answer from either encoder, told by ``meta``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from shimmy_sandbox.synthetic_model import SyntheticPair
from shimmy_vision.adapters.engine.int8_verdicts import machine_identity
from shimmy_vision.adapters.files.json_record import write_record

SHIMMY = str(Path(sys.executable).with_name("shimmy"))
ROOT = Path(__file__).resolve().parents[4]
SAMPLE = ROOT / "docs/samples/sign-in.png"
Run = Callable[..., subprocess.CompletedProcess[str]]

# An installed OpenVINO that dies when it is loaded: a package of that name found before it.
_DEADLY = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"


@pytest.fixture
def shimmy(synthetic_46: SyntheticPair, licence_variables: dict[str, str], tmp_path: Path) -> Run:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SHIMMY_")}
    environment = {
        **kept,
        **licence_variables,
        "SHIMMY_ALLOW_SYNTHETIC": "1",
        "SHIMMY_MODEL": f"{synthetic_46.main.parent}/",
        "SHIMMY_STATE_DIR": str(tmp_path / "state"),
        "SHIMMY_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONWARNINGS": "error",
    }

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SHIMMY, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**environment, **more},
            timeout=120,
            check=False,
        )

    return run


def _answer(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    jsonschema.validate(answer, json.loads((ROOT / "contracts/result-ocr.schema.json").read_text()))
    return answer


def _vision(shimmy: Run, **more: str) -> dict[str, Any]:
    """With few tokens: the words are noise, and the first of them is as telling as all."""
    asked = ("vision", str(SAMPLE), "--mode", "ocr", "--max-tokens", "8", "--output", "json")
    return _answer(shimmy(*asked, **more))


def test_either_encoder_gives_the_same_answer(shimmy: Run) -> None:
    quick = _vision(shimmy, SHIMMY_ENCODER="openvino", SHIMMY_ENCODER_PRECISION="f32")
    plain = _vision(shimmy, SHIMMY_ENCODER="mtmd")
    assert quick["meta"]["backend"]["encoder"].startswith("OpenVINO ")
    assert plain["meta"]["backend"]["encoder"] == "libmtmd"
    assert "encoder-fallback" not in str(quick["meta"]["warnings"] + plain["meta"]["warnings"])
    for meta in (quick["meta"], plain["meta"]):
        del meta["backend"]["encoder"], meta["timings"], meta["duration_ms"]
    for answer in (quick, plain):
        for block in answer["text_blocks"]:
            block["confidence"] = round(block["confidence"], 2)
    assert quick == plain


def test_an_openvino_that_kills_its_process_is_left_alone(shimmy: Run, tmp_path: Path) -> None:
    package = tmp_path / "broken/openvino"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(_DEADLY)
    answer = _vision(shimmy, PYTHONPATH=str(package.parent))
    assert answer["meta"]["backend"]["encoder"] == "libmtmd"
    assert "encoder-fallback" in [one["code"] for one in answer["meta"]["warnings"]]
    # Where libmtmd passed because it was asked for, OpenVINO is still tried.
    assert "encoder-fallback" not in str(_vision(shimmy, SHIMMY_ENCODER="mtmd")["meta"])
    assert _vision(shimmy)["meta"]["backend"]["encoder"].startswith("OpenVINO ")
    done = shimmy("vision", str(SAMPLE), PYTHONPATH=str(package.parent), SHIMMY_ENCODER="openvino")
    assert done.returncode != 0
    assert "library-crashed" in done.stderr


def test_doctor_tells_what_encodes_and_a_wrong_setting_is_refused(
    shimmy: Run, tmp_path: Path
) -> None:
    verdict = {"outcome": "fell", "least": 0.98, "picture": "edges", "reason": ""}
    folder = tmp_path / "cache/encoders"
    write_record(folder / "int8.json", {"key": {**verdict, "machine": machine_identity()}})
    told = " ".join(shimmy("doctor").stdout.split())
    assert "OpenVINO" in told
    assert "int8 is not used: least cosine to libmtmd 0.980000 (edges)" in told
    for variables in ({"SHIMMY_ENCODER": "onnx"}, {"SHIMMY_ENCODER_PRECISION": "f64"}):
        done = shimmy("vision", str(SAMPLE), **variables)
        assert done.returncode != 0
        assert "encoder-unknown" in done.stderr
