"""What one process of a customer does, for tests that run many at once and kill some.

They run in processes of their own, forked from one that has imported all this and done nothing.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache, partial
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from licence_world import Customer, Shop

from shimmy_sandbox.simulation.clock import SimulatedClock
from shimmy_vision.adapters.licence.sqlite_licence_state import SqliteLicenceState
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.use_cases.admit_pages import admit_pages
from shimmy_vision.use_cases.settle_pages import settle_pages
from shimmy_vision.use_cases.sync_pages import sync_pages

Process = multiprocessing.process.BaseProcess


@dataclass(frozen=True)
class Work:
    """A machine's folder and server; ``ahead`` is its clock against the real one."""

    folder: Path
    url: str
    key: str
    seed: int = 0
    rounds: int = 5
    ahead: timedelta = timedelta(0)
    machine: str = "machine-1"

    @property
    def done(self) -> Path:
        """Where each process notes what it committed, a number a line."""
        return self.folder.with_name(f"{self.folder.name}.done")

    def note(self, pages: int) -> None:
        """Written by one call, so that lines of several processes do not mix."""
        with self.done.open("a") as file:
            file.write(f"{pages}\n")

    def noted(self) -> int:
        """The sum over all processes."""
        return sum(map(int, self.done.read_text().split())) if self.done.exists() else 0


@contextmanager
def at_work(work: Work) -> Iterator[Licensing]:
    """One process on the machine."""
    clock = SimulatedClock()
    clock.advance(work.ahead)
    shop = cast("Shop", SimpleNamespace(clock=clock))
    customer = Customer(
        shop, work.folder, work.machine, given_key=work.key, api_url=work.url, timeout=20
    )
    with customer.process() as process:
        yield process


def analyse(work: Work) -> None:
    """Analyse a few images, of which some fail, and report at the end."""
    chance = random.Random(work.seed)
    with at_work(work) as process:
        for _ in range(work.rounds):
            pages, succeeds = chance.randint(1, 3), chance.random() < 0.8
            settle_pages(admit_pages(pages, process), process, done=succeeds)
            if succeeds:
                work.note(pages)
            if chance.random() < 0.3:
                sync_pages(work.key, process, force=True)


def analyse_for_ever(work: Work) -> None:
    """Until somebody kills this process."""
    chance = random.Random(work.seed)
    with at_work(work) as process:
        while True:
            pages = chance.randint(1, 3)
            settle_pages(admit_pages(pages, process), process, done=True)
            work.note(pages)
            if chance.random() < 0.5:
                sync_pages(work.key, process, force=True)


def die_at_statement(work: Work, number: int) -> None:
    """Analyse and report; the process kills itself before its ``number``-th SQL statement."""
    left = [number]

    def count(_statement: str) -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    connect = sqlite3.connect

    def traced(*args: Any, **more: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **more)
        connection.set_trace_callback(count)
        return connection

    sqlite3.connect = traced  # type: ignore[assignment]
    analyse_and_report(work)


def die_at_increment(work: Work, *, after: bool) -> None:
    """Kill itself right before or right after the server counts the pages."""
    with at_work(work) as process:
        server = process.server
        increment = server.increment

        def last(*args: Any) -> None:
            if after:
                increment(*args)
            os.kill(os.getpid(), signal.SIGKILL)

        server.increment = last  # type: ignore[method-assign,assignment]
        _analyse_and_report(work, process)


def reserve_and_wait(work: Work, pages: int) -> None:
    """Until somebody kills this process."""
    with at_work(work) as process:
        admit_pages(pages, process)
        work.note(pages)
        signal.pause()


def analyse_and_report(work: Work) -> None:
    """One image of three pages, then a report."""
    with at_work(work) as process:
        _analyse_and_report(work, process)


def _analyse_and_report(work: Work, process: Licensing) -> None:
    settle_pages(admit_pages(3, process), process, done=True)
    work.note(3)
    sync_pages(work.key, process, force=True)


def tell_machine_id(path: Path, said: Path) -> None:
    """Note the id that the state at ``path`` gives this machine."""
    state = SqliteLicenceState(path, "account")
    with said.open("a") as file:
        file.write(f"{state.machine_id()}\n")
    state.close()


def count_up(path: Path, times: int) -> None:
    """Open the state at ``path``, add one, close it, so many ``times``."""
    for _ in range(times):
        state = SqliteLicenceState(path, "account")
        with state.session("key") as session:
            session.update(total=session.record.total + 1)
        state.close()


def start(target: Callable[..., None], *args: Any, **more: Any) -> Process:
    """Have ``target`` done in a process of its own."""
    process: Process = _forking().Process(target=target, args=args, kwargs=more)
    process.start()
    return process


@lru_cache(maxsize=1)
def _forking() -> Any:
    forking = multiprocessing.get_context("forkserver")
    forking.set_forkserver_preload([__name__])
    before = os.environ.get("PYTHONPATH")
    # What pytest added to the path is not the server's yet when it imports this module.
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before
    return forking


def run(*works: partial[None]) -> list[int | None]:
    """Have each done in a process of its own, all at once; their exit codes."""
    processes = [start(work) for work in works]
    for process in processes:
        process.join(60)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
        process.join()
        process.close()
    return codes
