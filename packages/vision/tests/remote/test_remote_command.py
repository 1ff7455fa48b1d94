"""``SHIMMY_ENGINE=vllm``: the same results, pages and refusals, with the model elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from licence_world import Shop
from vllm_stand_in import StandIn, image_asked, serve_stand_in

from shimmy_vision.cli.main import main
from shimmy_vision.domain.answer.analysis_request import StandardQuestion
from shimmy_vision.domain.answer.result_schema import result_schema
from shimmy_vision.errors import UsageError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.settings import read_settings
from shimmy_vision.wiring.fleet import find_served

SAMPLE = Path(__file__).resolve().parents[4] / "docs/samples/sign-in.png"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    with serve_stand_in() as served:
        yield served


@pytest.fixture
def run(
    stand_in: StandIn, session_shop: Shop, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> Run:  # fmt: skip
    for name in [one for one in os.environ if one.startswith("SHIMMY_")]:
        monkeypatch.delenv(name)
    variables = {
        "SHIMMY_LICENSE_URL": session_shop.server.url,
        "SHIMMY_LICENSE_KEY": session_shop.sell("startup").key,
        "SHIMMY_MACHINE_ID": "fleet",
        "SHIMMY_STATE_DIR": str(tmp_path / "state"),
        "SHIMMY_ENGINE": "vllm",
        "SHIMMY_VLLM_URL": stand_in.url,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    def ran(*words: str, **more: str) -> tuple[int, str, str]:
        with monkeypatch.context() as patch:
            for name, value in more.items():
                patch.setenv(name, value)
            code = main(list(words))
        told = capfd.readouterr()
        return code, told.out, told.err

    return ran


def _used(run: Run) -> int:
    told: dict[str, Any] = json.loads(run("license", "usage", "--json")[1])
    return int(told["pages_used"])


def test_an_image_analysed_elsewhere_is_a_result_and_a_page_like_any(
    run: Run, stand_in: StandIn
) -> None:
    stand_in.key = "sesame"
    code, out, err = run("vision", str(SAMPLE), "--no-server", SHIMMY_VLLM_KEY="sesame")
    assert code == 0, err
    result = json.loads(out)
    jsonschema.validate(result, result_schema(StandardQuestion()))
    meta = result["meta"]
    assert meta["model"]["name"] == "MiniCPM-V 4.5"
    assert meta["model"]["main_sha256"] == "served: openbmb/MiniCPM-V-4_5"
    assert meta["backend"]["name"] == "vllm"
    assert result["visual"]["background"].startswith("#")
    assert image_asked(stand_in.asked[-1]).width > 100
    assert _used(run) == 1


def test_what_fails_elsewhere_is_not_counted(run: Run, stand_in: StandIn) -> None:
    stand_in.models = [{"id": "gpt", "root": "gpt"}]
    code, _, err = run("vision", str(SAMPLE), "--no-server")
    assert code == 3
    assert "[remote-model-refused]" in err
    assert not stand_in.asked
    assert _used(run) == 0


def test_an_image_that_the_server_refuses_fails_alone(
    run: Run, stand_in: StandIn, tmp_path: Path
) -> None:
    stand_in.go_wrong("400", 1)
    copy = tmp_path / "copy.png"
    copy.write_bytes(SAMPLE.read_bytes())
    words = ("vision", str(SAMPLE), str(copy), "--no-server", "--mode", "brief")
    code, out, err = run(*words)
    assert code == 1, err
    lines = [json.loads(line) for line in out.splitlines()]
    assert [one["error"]["code"] for one in lines if "error" in one] == ["remote-request-refused"]
    assert len(lines) == 2
    assert _used(run) == 1


def test_a_batch_goes_through_the_fleet(run: Run, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    code, out, err = run("batch", str(SAMPLE), "--output", str(output), "--mode", "brief")
    assert code == 0, err
    assert json.loads(out)["done"] == 1
    assert json.loads(output.read_text())["result"]["meta"]["backend"]["name"] == "vllm"


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({"SHIMMY_ENGINE": "cloud"}, "engine-unknown"),
        ({"SHIMMY_VLLM_URL": ""}, "remote-address-refused"),
        ({"SHIMMY_VLLM_URL": "http://hidden.example"}, "remote-address-refused"),
        ({"SHIMMY_VLLM_KEY_FILE": "gone.txt"}, "remote-key-unreadable"),
        ({"SHIMMY_VLLM_KEY": "hidden\nkey"}, "remote-key-unreadable"),
        ({"SHIMMY_VLLM_KEY": "hiddén"}, "remote-key-unreadable"),
    ],
)
def test_a_wrong_setting_is_refused_before_any_image_leaves(
    run: Run, stand_in: StandIn, variables: dict[str, str], code: str
) -> None:
    status, _, err = run("vision", str(SAMPLE), "--no-server", **variables)
    assert status == 64
    assert f"[{code}]" in err
    assert "hidden" not in err
    assert not stand_in.asked


def test_an_address_alone_sends_nothing(run: Run, stand_in: StandIn) -> None:
    status, _, err = run("vision", str(SAMPLE), "--no-server", SHIMMY_ENGINE="")
    assert status == 3, err
    assert not stand_in.asked


def test_without_network_only_this_machine_is_asked(stand_in: StandIn) -> None:
    asked = {"SHIMMY_ENGINE": "vllm", "SHIMMY_OFFLINE": "1", "SHIMMY_VLLM_URL": stand_in.url}
    assert find_served(read_settings(asked), Cancellation()).family == "4.5"
    asked["SHIMMY_VLLM_URL"] = "https://hidden.example"
    with pytest.raises(UsageError) as caught:
        find_served(read_settings(asked), Cancellation())
    assert caught.value.code == "remote-offline"
