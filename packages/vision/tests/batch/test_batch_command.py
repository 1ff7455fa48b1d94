"""``shimmy batch`` as a user runs it: stopped, killed and gone on with; each page counted once."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from licence_world import Shop
from PIL import Image

from shimmy_sandbox.synthetic_model import SyntheticPair
from shimmy_vision.cli import batch

SHIMMY = str(Path(sys.executable).with_name("shimmy"))
ROWS = 14


@pytest.fixture(scope="module")
def environment(
    tmp_path_factory: pytest.TempPathFactory, synthetic_46: SyntheticPair, session_shop: Shop
) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SHIMMY_")}
    return {
        **kept,
        "SHIMMY_LICENSE_URL": session_shop.server.url,
        # Capped, so that pages are counted.
        "SHIMMY_LICENSE_KEY": session_shop.sell("startup").key,
        "SHIMMY_MACHINE_ID": "tests",
        "SHIMMY_ALLOW_SYNTHETIC": "1",
        "SHIMMY_MODEL": f"{synthetic_46.main.parent}/",
        "SHIMMY_STATE_DIR": str(tmp_path_factory.mktemp("state")),
        "PYTHONWARNINGS": "error",
    }


def _batch(environment: dict[str, str], folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [SHIMMY, "batch", *words], env=environment, cwd=folder, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [
        json.loads(line)
        for line in path.read_bytes().splitlines(keepends=True)
        if line.endswith(b"\n")
    ]


def _await_rows(path: Path, count: int) -> None:
    end = time.monotonic() + 120
    while len(_lines(path)) < count:
        assert time.monotonic() < end
        time.sleep(0.01)


def _used(environment: dict[str, str]) -> int:
    done = subprocess.run(
        [SHIMMY, "license", "usage", "--json"], env=environment, capture_output=True, check=True
    )
    return int(json.loads(done.stdout)["pages_used"])


def test_a_batch_that_is_stopped_and_killed_loses_and_doubles_nothing(
    environment: dict[str, str], tmp_path: Path
) -> None:
    images = [tmp_path / f"{number:02}.png" for number in range(ROWS)]
    for number, path in enumerate(images):
        Image.new("RGB", (64 + number, 48), "white").save(path)
    images[5].write_bytes(b"\x89PNG\r\n\x1a\nno more")
    output = tmp_path / "out.parquet"
    lines = tmp_path / "out.parquet.rows.jsonl"
    # So long a row takes that most of them are left when two are seen, also on a fast machine.
    words = ("*.png", "--output", str(output), "--max-tokens", "200", "--parallel", "2")

    stopped = _batch(environment, tmp_path, *words)
    _await_rows(lines, 2)
    stopped.send_signal(signal.SIGINT)
    _, told = stopped.communicate(timeout=120)
    assert stopped.returncode == 130, told
    first = len(_lines(lines))
    assert 2 <= first < ROWS
    assert f"{first} rows were done and are kept" in told

    killed = _batch(environment, tmp_path, *words)
    _await_rows(lines, first + 2)
    killed.kill()
    killed.communicate(timeout=120)
    second = len(_lines(lines))
    assert first + 2 <= second < ROWS

    out, told = _batch(environment, tmp_path, *words).communicate(timeout=240)
    summary = json.loads(out)
    assert (summary["rows"], summary["kept"]) == (ROWS, second), told
    table = pq.read_table(output)
    assert sorted(table["image"].to_pylist()) == [path.name for path in images]
    failed = [row for row in table.to_pylist() if row["status"] == "failed"]
    assert [(row["image"], row["code"]) for row in failed] == [("05.png", "image-truncated")]
    assert not lines.exists()
    assert _used(environment) == ROWS - 1


def test_a_link_is_the_output_that_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "elsewhere/out.jsonl")
    parser = argparse.ArgumentParser()
    batch.add_arguments(parser)
    words = ["a.png", "--output", str(tmp_path / "link.jsonl")]
    assert batch._order(parser.parse_args(words)).output == tmp_path / "elsewhere/out.jsonl"


def test_rows_of_parquet_files_go_into_lines(environment: dict[str, str], tmp_path: Path) -> None:
    Image.new("RGB", (64, 48), "navy").save(tmp_path / "shot.png")
    data = (tmp_path / "shot.png").read_bytes()
    table = pa.table({"shot": [data, None, b"no image"], "id": ["a", "b", "c"]})
    pq.write_table(table, tmp_path / "in.parquet")
    words = ("in.parquet", "shot.png", "--column", "shot", "--name-column", "id", "--mode", "brief")
    done = _batch(environment, tmp_path, *words, "--max-tokens", "5", "--output", "out.jsonl")
    out, told = done.communicate(timeout=120)
    assert done.returncode == 1, told
    assert json.loads(out)["errors"] == {"batch-row-empty": 1, "image-unsupported": 1}
    rows = {one["image"]: one for one in _lines(tmp_path / "out.jsonl")}
    assert set(rows) == {"a", "b", "c", "shot.png"}
    assert rows["a"]["result"]["visual"] == rows["shot.png"]["result"]["visual"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("a.png", "--output", "out.csv"), "batch-output-form"),
        (("-", "--output", "out.jsonl"), "batch-input-passing"),
        (("none-*.png", "--output", "out.jsonl"), "no-images"),
        (("none.parquet", "--output", "out.jsonl"), "batch-input-unreadable"),
        (
            ("a.png", "--output", "o.jsonl", "--ray", "auto", "--license", "K"),
            "cluster-licence-here",
        ),
        (("a.png", "--output", "out.jsonl", "--ray", "auto", "--actor-gpus", "nan"), "usage"),
    ],
)
def test_wrong_commands_are_refused_and_nothing_is_made(
    words: tuple[str, ...], code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from shimmy_vision.cli.main import main

    monkeypatch.chdir(tmp_path)
    assert main(["batch", *words]) == 64
    assert f"[{code}]" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
