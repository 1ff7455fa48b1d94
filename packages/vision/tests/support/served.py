"""``shimmy serve`` as a user starts it: a process of its own, with the real engine behind it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

SHIMMY = str(Path(sys.executable).with_name("shimmy"))


@dataclass
class Served:
    """A running server; ``environment`` is what its user's own commands have too."""

    url: str
    process: subprocess.Popen[bytes]
    environment: Mapping[str, str]
    log: Path

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=120)

    def engine(self) -> psutil.Process:
        """The engine's process."""
        found = []
        for one in psutil.Process(self.process.pid).children():
            # Another child, such as a trial's, may end meanwhile.
            with suppress(psutil.Error):
                if "engine-worker" in " ".join(one.cmdline()):
                    found.append(one)
        (engine,) = found
        return engine

    def metric(self, name: str, label: str = "") -> float:
        """The sum of a metric's values, or of those alone that have ``label``."""
        text = httpx.get(f"{self.url}/metrics", timeout=20).text
        lines = [line for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if label in line)

    def until(self, name: str, least: float, seconds: float = 120) -> None:
        """Until a metric is ``least`` or more."""
        end = time.monotonic() + seconds
        while self.metric(name) < least:
            assert time.monotonic() < end, name
            # Who asks without a pause takes the time of what he waits for.
            time.sleep(0.01)

    def stop(self) -> int:
        """As an operator stops it; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def serving(variables: Mapping[str, str], home: Path, *options: str) -> Iterator[Served]:
    """``shimmy serve`` on a free port, from its first word to its end."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SHIMMY_")}
    log = home / "serve.log"
    with tempfile.TemporaryDirectory(dir="/tmp") as short, log.open("wb") as errors:
        environment = {
            **kept,
            "SHIMMY_ALLOW_SYNTHETIC": "1",
            "SHIMMY_STATE_DIR": str(home / "state"),
            "SHIMMY_SOCKET": str(Path(short, "s.sock")),
            "OMP_WAIT_POLICY": "passive",
            "PYTHONWARNINGS": "error",
            **variables,
        }
        process = subprocess.Popen(
            [SHIMMY, "serve", "--port", "0", "--threads", "1", *options],
            stderr=errors,
            env=environment,
        )
        try:
            yield Served(_address(process, log), process, environment, log)
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """What it says first, which is waited for as long as it lives."""
    while process.poll() is None:
        for line in log.read_text().splitlines():
            if line.startswith("shimmy: http://"):
                return line.split()[1]
        time.sleep(0.02)
    raise AssertionError(f"it ended: {log.read_text()}")
