"""``docs/examples`` run as they stand, against a real server with a played analyst."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from serving import PlayedAnalyst

from shimmy_vision.domain.answer.analysis_request import StandardQuestion
from shimmy_vision.errors import ImageError
from shimmy_vision.ports.analyst import ImageJob, Job, JobListener
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.progress import Progress, Written
from shimmy_vision.server.guard import GuardRules, digest_key

ROOT = Path(__file__).resolve().parents[4]
EXAMPLES, SAMPLE = ROOT / "docs/examples", ROOT / "docs/samples/sign-in.png"
KEY = "a-key"
META: dict[str, Any] = {
    "model": {"family": "4.6"},
    "tokens": {"prompt": 9, "image": 64, "generated": 5, "forced": 0, "forward_passes": 5},
    "warnings": [],
}
Open = Callable[..., tuple[str, PlayedAnalyst]]


def play(job: Job, _switch: Cancellation, hear: JobListener) -> Any:
    assert isinstance(job, ImageJob)
    hear(Progress("encode", 1, 2))
    match job.request.question:
        case StandardQuestion(mode="ocr"):
            return {"text_blocks": [{"text": "Sign in… é"}], "meta": META}
        case StandardQuestion():
            return {"visual": {"background": "#f5f7fa"}, "meta": META}
        case question if question.schema is None:
            hear(Written(0, '"Sign'))
            hear(Written(0, ' in"'))
            return {"answer": "Sign in", "meta": META}
        case question:
            name, kind = next(iter(question.schema["properties"].items()))
            return {"answer": {name: kind["type"] == "boolean" or "Sign in"}, "meta": META}


def refuse(*_: Any) -> Any:
    raise ImageError("image-corrupt", "It is broken.", hint="Mend it.")


def need(tool: str) -> str:
    """Its path; skips the test where there is none, unless the environment requires it."""
    found = shutil.which(tool)
    if found is None and os.environ.get(f"SHIMMY_TEST_{tool.upper()}") == "required":
        pytest.fail(f"SHIMMY_TEST_{tool.upper()}=required, but no {tool} is on the PATH")
    if found is None:
        pytest.skip(f"no {tool} on the PATH")
    return found


def run(url: str, *command: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SHIMMY_")}
    variables = {**kept, "SHIMMY_SERVER": url, "SHIMMY_API_KEY": KEY, "PYTHONUTF8": "1"}
    return subprocess.run(
        [*command, str(SAMPLE)], capture_output=True, text=True, env=variables, timeout=60,
        check=False,
    )  # fmt: skip


@pytest.fixture
def example(open_server: Open) -> Callable[..., str]:
    """What an example prints; and it fails, saying why, where the server refuses."""
    rules = GuardRules(api_keys=(digest_key(KEY),))

    def running(*command: str) -> str:
        refused = run(open_server(refuse, rules=rules)[0], *command)
        assert refused.returncode != 0
        assert "It is broken" in refused.stdout + refused.stderr
        done = run(open_server(play, rules=rules)[0], *command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return running


def test_curl(example: Callable[..., str]) -> None:
    need("curl")
    first, second, *events = example(str(EXAMPLES / "analyze.sh")).splitlines()
    assert json.loads(first)["text_blocks"][0]["text"] == "Sign in… é"
    assert json.loads(second)["answer"] == {"sign_in": True}
    names = [line.removeprefix("event: ") for line in events if line.startswith("event: ")]
    assert names == ["progress", "result"]


def test_javascript(example: Callable[..., str]) -> None:
    assert example(need("node"), str(EXAMPLES / "analyze.mjs")).splitlines() == [
        "text: Sign in… é",
        "progress: encode 50",
        "background: #f5f7fa",
    ]


def test_python(example: Callable[..., str]) -> None:
    assert example(sys.executable, str(EXAMPLES / "analyze.py")).splitlines() == [
        "text: Sign in… é",
        "answer: {'sign_in': True}",
        "progress: encode 50.0",
        "background: #f5f7fa",
    ]


def test_openai(example: Callable[..., str]) -> None:
    assert example(sys.executable, str(EXAMPLES / "openai_chat.py")).splitlines() == [
        "reply: Sign in",
        'json: {"title":"Sign in"}',
        "stream: Sign in",
    ]
