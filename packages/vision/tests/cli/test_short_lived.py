"""Programs that leave nothing behind, and a licence server that does not answer them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from licence_world import Shop
from PIL import Image

from shimmy_sandbox.synthetic_model import SyntheticPair

SHIMMY = str(Path(sys.executable).with_name("shimmy"))
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def analyse(session_shop: Shop, synthetic_46: SyntheticPair, tmp_path: Path) -> Run:
    """One analysis in a process of its own, in a container as the environment has it."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SHIMMY_")}
    Image.new("RGB", (32, 32), "white").save(tmp_path / "shot.png")
    variables = {
        "container": "docker",
        "SHIMMY_ALLOW_SYNTHETIC": "1",
        "SHIMMY_LICENSE_URL": session_shop.server.url,
        "SHIMMY_MACHINE_ID": "the same at each start",
        "PYTHONWARNINGS": "error",
    }
    words = [str(tmp_path / "shot.png"), "--model", f"{synthetic_46.main.parent}/"]
    limits = ["--mode", "brief", "--max-tokens", "5"]

    def run(**more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SHIMMY, "vision", *words, *limits],
            capture_output=True,
            text=True,
            env={**kept, **variables, **more},
            timeout=60,
            check=False,
        )

    return run


def test_a_container_an_image_is_counted_too(
    analyse: Run, session_shop: Shop, tmp_path: Path
) -> None:
    sold = session_shop.sell("developer")
    for number in range(3):
        state = str(tmp_path / f"state-{number}")
        done = analyse(SHIMMY_LICENSE_KEY=sold.key, SHIMMY_STATE_DIR=state)
        assert done.returncode == 0, done.stderr
    assert session_shop.uses(sold) == 3


def test_without_a_disk_a_named_machine_works_and_is_counted(
    analyse: Run, session_shop: Shop, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    sold = session_shop.sell("developer")
    for _ in range(2):
        done = analyse(SHIMMY_LICENSE_KEY=sold.key, SHIMMY_STATE_DIR=str(tmp_path / "file/x"))
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["meta"]["licence"] == "developer"
    assert session_shop.uses(sold) == 2


@pytest.fixture
def silent_server() -> Iterator[socket.socket]:
    """Who connects to it hears nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        listener.setblocking(False)
        yield listener


def _connected(listener: socket.socket) -> int:
    """How many have connected since it was last asked."""
    count = 0
    with suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            count += 1
    return count


def test_a_server_that_hangs_slows_down_one_run_and_not_every_one(
    analyse: Run, session_shop: Shop, silent_server: socket.socket, tmp_path: Path
) -> None:
    sold, state = session_shop.sell("developer"), str(tmp_path / "state")
    variables = {"SHIMMY_LICENSE_KEY": sold.key, "SHIMMY_STATE_DIR": state}
    assert analyse(**variables).returncode == 0
    address = f"http://127.0.0.1:{silent_server.getsockname()[1]}"
    waited = []
    for _ in range(3):
        started = time.perf_counter()
        done = analyse(**variables, SHIMMY_LICENSE_URL=address)
        assert done.returncode == 0, done.stderr
        waited.append(_connected(silent_server))
        # Where it was asked its five seconds were waited for: none of them in vain.
        assert not waited[-1] or time.perf_counter() - started > 4
    # How long the others took says nothing on a busy machine; whom they did not ask took no time.
    assert waited == [1, 0, 0]
    analyse(**variables)
    assert session_shop.uses(sold) == 1, "it waits five minutes after a failure"
