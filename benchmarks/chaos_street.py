"""The town, the store and its ledger as processes that can be killed, filled up and begun anew."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil

from chaos_plan import Ledger
from store_street import (
    ROOT,
    LedgerView,
    PostgresView,
    SqliteView,
    _await,
    _free_port,
    _listens,
    _read_settings,
    _running,
)

LAUNCHER = Path(__file__).with_name("chaos_clock.py")
# Room for the ledgers of a thousand customers; in memory, so that filling it up hurts nobody else.
_DISK_MB = {"sqlite": 64, "postgresql": 512}
# Stripe waits for hours between its last tries; here the promise is counted from these.
_REDELIVERIES = [1.0, 1.0, 2.0, 3.0, 5.0, 8.0] + [10.0] * 54
_SWEEPING_PAUSE_SECONDS = 3.0
_END_SECONDS = 20


@dataclass(eq=False)
class Program:
    """A process that is begun anew whenever it ends, as an orchestrator does."""

    command: Sequence[str]
    environment: Mapping[str, str]
    said: Path
    pause: float = 0.0
    starts: int = 0
    process: subprocess.Popen[bytes] | None = None
    _ending: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def begin(self) -> subprocess.Popen[bytes]:
        """Start it, and watch it from now on."""
        first = self._start()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return first

    def kill(self) -> None:
        """SIGKILL, at once: it is told nothing."""
        if self.process is not None:
            self.process.kill()

    def end(self) -> None:
        """For good."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(_END_SECONDS)
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.said.open("ab") as output:
            self.process = subprocess.Popen(
                [*self.command],
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.starts += 1
        return self.process

    def _watch(self) -> None:
        while not self._ending.wait(0.05):
            if self.process is not None and self.process.poll() is not None:
                if self.pause and self._ending.wait(self.pause):
                    return
                self._start()


class Disk:
    """Where the ledger lies: a small file system in memory; as root. Else the process's limit."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder, self._ballast = folder, folder / "ballast"
        mounted = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)]
        self.how = "rlimit"
        if os.geteuid() == 0 and shutil.which("mount"):
            done = subprocess.run(mounted, capture_output=True, check=False)
            self.how = "tmpfs" if done.returncode == 0 else "rlimit"

    def fill(self, programs: Sequence[Program]) -> None:
        """Not a byte more."""
        if self.how == "rlimit":
            _limit_files(programs, 0)
            return
        with suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            while file.write(bytes(1 << 12)):
                pass

    def free(self, programs: Sequence[Program]) -> None:
        """There is room again."""
        if self.how == "rlimit":
            _limit_files(programs, psutil.RLIM_INFINITY)
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        """Give it back."""
        if self.how == "tmpfs":
            unmount = ["umount", "-l", str(self.folder)]
            subprocess.run(unmount, check=False)


def _limit_files(programs: Sequence[Program], most: int) -> None:
    for one in programs:
        if one.process is not None:
            with suppress(psutil.Error):
                process = psutil.Process(one.process.pid)
                _, hard = process.rlimit(psutil.RLIMIT_FSIZE)
                process.rlimit(psutil.RLIMIT_FSIZE, (most, hard))


class Server:
    """The ledger's PostgreSQL, durable, on the small disk; None where the ledger is a file."""

    def __init__(self, folder: Path) -> None:
        sys.path.insert(0, str(ROOT / "packages/store/tests/support"))
        import postgres_server

        programs = postgres_server.find_programs()
        if programs is None:
            raise SystemExit("chaos: PostgreSQL is not installed: apt-get install postgresql")
        postgres_server._SETTINGS.update(fsync="on", full_page_writes="on")
        # Its user, who is not ours, has to reach it.
        folder.chmod(0o755)
        for above in folder.parents[:2]:
            above.chmod(0o755)
        self._server = postgres_server.PostgresServer(programs, folder)
        self._server.initialise()
        self._server.start()
        self.url = self._server.create_database()

    def restart(self) -> None:
        """Without a word, as in a crash; up again as soon as it has recovered."""
        self._server.stop()
        self._server.start()

    def mend(self) -> None:
        """A full disk may have ended it."""
        if not self._server._answers():
            self.restart()

    def close(self) -> None:
        """For good."""
        self._server.stop()


@dataclass(eq=False)
class ChaosStreet:
    """Everything that runs, and how to reach it."""

    url: str
    settings: Mapping[str, str]
    places: Mapping[str, str]
    view: LedgerView
    disk: Disk
    store: Program
    sweeper: Program
    server: Server | None
    clock: Path
    machines_clock: Path
    shift: float = 0.0

    def control(self, whom: str, path: str, order: Any = None) -> Any:
        """An order to a simulator: ``whom`` is stripe, keygen or mail."""
        url = f"{self.places[whom]}/_sim/{path}"
        reply = httpx.post(url, json=order or {}, trust_env=False, timeout=30)
        return reply.raise_for_status().json()

    def ask(self, whom: str, path: str) -> Any:
        """What a simulator shows."""
        reply = httpx.get(f"{self.places[whom]}/_sim/{path}", trust_env=False, timeout=60)
        return reply.raise_for_status().json()

    def forget_faults(self) -> None:
        """Nothing more goes wrong at any simulator."""
        for whom, path in (
            ("stripe", "faults"),
            ("keygen", "faults"),
            ("mail", "faults"),
            ("mail", "smtp"),
        ):
            httpx.delete(f"{self.places[whom]}/_sim/{path}", trust_env=False, timeout=30)
        calm = {"hold": False, "delay_seconds": 0, "duplicate": 0, "drop": []}
        self.control("stripe", "deliveries", calm)

    def set_clock(self, apart: float = 0.0) -> None:
        """The store's clock: with the town's, and so many seconds apart from it."""
        fresh = self.clock.with_suffix(".new")
        fresh.write_text(str(self.shift + apart), encoding="ascii")
        fresh.replace(self.clock)

    def pass_time(self, seconds: float) -> None:
        """Everybody's clock jumps, machines' last."""
        self.shift += seconds
        self.set_clock()
        self.control("stripe", "clock", {"advance_seconds": seconds})
        fresh = self.machines_clock.with_suffix(".new")
        fresh.write_text(str(self.shift), encoding="ascii")
        fresh.replace(self.machines_clock)

    def now(self) -> datetime:
        """The town's time."""
        return datetime.now(UTC) + timedelta(seconds=self.shift)

    def environment(self) -> dict[str, str]:
        """Of the store's programs."""
        return {**os.environ, **self.settings, "CHAOS_CLOCK": str(self.clock)}


@contextmanager
def open_chaos_street(folder: Path, ledger: Ledger) -> Iterator[ChaosStreet]:
    """On free ports, with everything in ``folder``; nothing of it is left running."""
    with ExitStack() as stack:
        port = _free_port()
        settings, places = _open_town(folder, f"http://127.0.0.1:{port}", stack)
        place = folder / "disk"
        place.mkdir()
        disk = Disk(place, _DISK_MB[ledger])
        stack.callback(disk.close)
        server, view = None, SqliteView(place / "ledger.sqlite")
        settings["SHIMMY_STORE_LEDGER"] = f"sqlite:///{place / 'ledger.sqlite'}"
        look: LedgerView = view
        if ledger == "postgresql":
            server = Server(place)
            stack.callback(server.close)
            settings["SHIMMY_STORE_LEDGER"], look = server.url, PostgresView(server.url)
        clock, machines_clock = folder / "clock", folder / "machines-clock"
        for one in (clock, machines_clock):
            one.write_text("0", encoding="ascii")
        environment = {**os.environ, **settings, "CHAOS_CLOCK": str(clock)}
        command = (sys.executable, str(LAUNCHER), "shimmy-store")
        serve = (*command, "serve", "--port", str(port))
        store = Program(serve, environment, folder / "store.out")
        sweep = (*command, "sweep")
        sweeper = Program(sweep, environment, folder / "sweep.out", _SWEEPING_PAUSE_SECONDS)
        for program in (store, sweeper):
            stack.callback(program.end)
        _await(store.said, lambda: _listens(port), store.begin())
        sweeper.begin()
        url = f"http://127.0.0.1:{port}"
        yield ChaosStreet(
            url, settings, places, look, disk, store, sweeper, server, clock, machines_clock
        )  # fmt: skip


def _open_town(
    folder: Path, url: str, stack: ExitStack
) -> tuple[dict[str, str], Mapping[str, str]]:
    said = folder / "town.out"
    plans = str(ROOT / "contracts/plans.json")
    state = ("--state", str(folder / "town"), "--plans", plans, "--ports", "auto")
    command = ("shimmy-sandbox", "town", "serve", *state, "--store-url", url)
    sandbox = stack.enter_context(_running(command, said, os.environ))
    _await(said, lambda: "\nready" in said.read_text(encoding="utf-8"), sandbox)
    words = [one.split() for one in said.read_text(encoding="utf-8").splitlines()]
    places = {one[0]: one[1] for one in words if len(one) == 2 and one[1].startswith("http")}
    orders = {"timestamps": "simulated", "retry_seconds": _REDELIVERIES}
    for path, order in (("deliveries", orders), ("billing", {"search_lag_seconds": 0})):
        httpx.post(f"{places['stripe']}/_sim/{path}", json=order, trust_env=False, timeout=30)
    return _read_settings(folder / "town" / "store.env"), places


def sleep_until(moment: float, stopping: threading.Event) -> bool:
    """False when somebody wants to stop."""
    return not stopping.wait(max(moment - time.monotonic(), 0))
