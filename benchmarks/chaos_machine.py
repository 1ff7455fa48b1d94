"""A customer's machine: the real ``shimmy``, whose process is killed while it analyses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from chaos_plan import Script
from chaos_street import ChaosStreet
from shimmy_sandbox.synthetic_model import write_synthetic_pair
from store_street import ROOT

PROGRAM = Path(sys.executable).with_name("shimmy")
_TRIES = 12
_PAUSE_SECONDS = 1.0
_RUN_SECONDS = 120
_ONE_PAIR = threading.Lock()


class MachineError(Exception):
    """The real ``shimmy`` did not do in the end what it should."""


class ClocksApartError(Exception):
    """The town's clock has jumped away: ``shimmy`` has the real one, and is right to refuse."""


def use_machine(street: ChaosStreet, key: str, script: Script, met: Callable[[str], None]) -> None:
    """Activate ``key``, analyse an image, be killed, analyse again.

    Raises MachineError, ClocksApartError.
    """
    home = street.clock.parent / f"machine-{script.number}"
    home.mkdir(exist_ok=True)
    with _ONE_PAIR:
        pair = street.clock.parent / "pair"
        if not pair.exists():
            write_synthetic_pair(pair, "4.6")
    environment = {
        **{name: one for name, one in os.environ.items() if not name.startswith("SHIMMY_")},
        "SHIMMY_LICENSE_URL": street.places["keygen"],
        "SHIMMY_STATE_DIR": str(home),
        "SHIMMY_MACHINE_ID": f"chaos-{script.number}",
        "SHIMMY_ALLOW_SYNTHETIC": "1",
        "OMP_WAIT_POLICY": "passive",
    }
    _until_done(("license", "activate", key), environment, met)
    image = str(ROOT / "docs/samples/sign-in.png")
    look = ("vision", image, "--model", f"{pair}/", "--max-tokens", "8", "--mode", "brief")
    _killed(look, environment, script.killed_after)
    json.loads(_until_done(look, environment, met))


def _killed(command: tuple[str, ...], environment: dict[str, str], seconds: float) -> None:
    """SIGKILL in the middle of it, whatever it is doing."""
    with subprocess.Popen(
        [PROGRAM, *command],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()


def _until_done(
    command: tuple[str, ...], environment: dict[str, str], met: Callable[[str], None]
) -> str:
    """What it prints once it works; the licence server may be away for a while."""
    said = ""
    for _ in range(_TRIES):
        done = subprocess.run(
            [PROGRAM, *command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_RUN_SECONDS,
            check=False,
        )
        if done.returncode == 0:
            return done.stdout
        said = done.stderr[-500:]
        if "this machine's clock is" in said:
            raise ClocksApartError
        met(f"{command[0]} exit code {done.returncode}")
        time.sleep(_PAUSE_SECONDS)
    raise MachineError(f"shimmy {command[0]} never worked: {said}")
