"""A customer's machine: the real ``shimmy``, whose process is killed while it analyses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from chaos_plan import Script
from chaos_street import LAUNCHER, ChaosStreet
from shimmy_sandbox.synthetic_model import write_synthetic_pair
from store_street import ROOT

PROGRAM = (sys.executable, str(LAUNCHER), "shimmy")
_TRIES = 12
# A quick machine may be through before it is killed: then sooner, until it is hit.
_AIMS = 6
_PAUSE_SECONDS = 1.0
_RUN_SECONDS = 120
KILLED = "hit by kill -9"
_ONE_PAIR = threading.Lock()


class MachineError(Exception):
    """The real ``shimmy`` did not do in the end what it should."""


def use_machine(street: ChaosStreet, key: str, script: Script, met: Callable[[str], None]) -> None:
    """Activate ``key``, analyse an image, be killed, analyse again. Raises MachineError."""
    home = street.clock.parent / f"machine-{script.number}"
    home.mkdir(exist_ok=True)
    with _ONE_PAIR:
        pair = street.clock.parent / "pair"
        if not pair.exists():
            write_synthetic_pair(pair, "4.6")
    environment = {
        **{name: one for name, one in os.environ.items() if not name.startswith("SHIMMY_")},
        "CHAOS_CLOCK": str(street.machines_clock),
        "SHIMMY_LICENSE_URL": street.places["keygen"],
        "SHIMMY_STATE_DIR": str(home),
        "SHIMMY_MACHINE_ID": f"chaos-{script.number}",
        "SHIMMY_ALLOW_SYNTHETIC": "1",
        "OMP_WAIT_POLICY": "passive",
    }
    _until_done(("license", "activate", key), environment, met)
    image = str(ROOT / "docs/samples/sign-in.png")
    look = ("vision", image, "--model", f"{pair}/", "--max-tokens", "8", "--mode", "brief")
    _until_killed(look, environment, script.killed_after)
    met(KILLED)
    json.loads(_until_done(look, environment, met))


def _until_killed(command: tuple[str, ...], environment: dict[str, str], seconds: float) -> None:
    for _ in range(_AIMS):
        if _killed(command, environment, seconds):
            return
        seconds /= 2
    raise MachineError("it could not be killed: each time it had ended before")


def _killed(command: tuple[str, ...], environment: dict[str, str], seconds: float) -> bool:
    """SIGKILL in the middle of it, whatever it is doing; False where it had ended by itself."""
    with subprocess.Popen(
        [*PROGRAM, *command],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.returncode == -signal.SIGKILL


def _until_done(
    command: tuple[str, ...], environment: dict[str, str], met: Callable[[str], None]
) -> str:
    """What it prints once it works; the licence server may be away for a while."""
    said = ""
    for _ in range(_TRIES):
        done = subprocess.run(
            [*PROGRAM, *command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_RUN_SECONDS,
            check=False,
        )
        if done.returncode == 0:
            return done.stdout
        said = done.stderr[-500:]
        # Also where everybody's clock jumped while it asked: it is right to refuse then.
        met(f"{command[0]} exit code {done.returncode}")
        time.sleep(_PAUSE_SECONDS)
    raise MachineError(f"shimmy {command[0]} never worked: {said}")
