"""``serve`` between its first line and the moment it answers."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from kept_ports import free_port
from prometheus_client import CollectorRegistry, Counter, values
from prometheus_client.multiprocess import MultiProcessCollector
from store_hosts import Host
from store_server import eventually
from uvicorn.supervisors import multiprocess

from shimmy_store.cli import serve, supervising
from shimmy_store.cli.main import main
from shimmy_store.domain.catalog import PLAN_IDS
from shimmy_store.server.meter_slots import take_meter_slot

SETTINGS = {
    "MODE": "test",
    "URL": "http://127.0.0.1:8400",
    "STRIPE_KEY": "sk_test_hidden",
    "WEBHOOK_SECRETS": "whsec_hidden",
    "KEYGEN_ACCOUNT": "nobody",
    "KEYGEN_TOKEN": "hidden",
    "KEYGEN_POLICIES": ",".join(f"{plan}=policy-of-{plan}" for plan in PLAN_IDS),
    "MAIL": "smtp://127.0.0.1:9",
    "MAIL_FROM": "Shimmy Vision <licences@shimmy.example>",
    "SECRET": "hidden" * 8,
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named = {**SETTINGS, "LEDGER": f"sqlite:///{tmp_path / 'ledger.sqlite'}"}
    for name, value in named.items():
        monkeypatch.setenv(f"SHIMMY_STORE_{name}", value)


def _unreached(*_: object, **__: object) -> Any:
    raise AssertionError("it went on")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_of_two_that_start_at_one_address_the_later_ends_and_says_why(
    workers: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both may bind it while neither listens; found out by workers, it would never end."""
    checked = serve._check
    with socket.socket() as first:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        first.bind(("127.0.0.1", 0))

        async def check(settings: Any) -> None:
            await checked(settings)
            first.listen()

        monkeypatch.setattr(serve, "_check", check)
        monkeypatch.setattr(serve, "_supervise", _unreached)
        monkeypatch.setattr(serve, "create_app", _unreached)
        port = str(first.getsockname()[1])
        assert main(["serve", "--port", port, "--workers", workers]) == 2
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


def test_a_signal_that_comes_before_it_answers_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def told_to_stop(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(serve, "create_app", told_to_stop)
    monkeypatch.setattr(uvicorn, "Server", _unreached)
    try:
        with pytest.raises(SystemExit) as ended:
            main(["serve", "--port", "0"])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 0


class _Program:
    """A worker's process, as far as a supervisor asks it."""

    def __init__(self, *, stubborn: bool = False) -> None:
        self.stubborn, self.told, self.ended = stubborn, False, False
        self.while_waiting: list[Any] = []

    def is_alive(self) -> bool:
        return not self.ended

    def join(self, timeout: float | None = None) -> None:
        if self.while_waiting:
            self.while_waiting.pop()()
        self.ended = self.ended or (self.told and not self.stubborn)
        assert self.ended or timeout is not None, "waits for ever"

    def kill(self) -> None:
        self.ended = True


class _Worker:
    """Uvicorn's ``Process``, without one."""

    made: list[_Worker]
    starting: Any = None

    def __init__(self, *_: object) -> None:
        self.process, self.pid, self.exitcode = _Program(), 1, 0
        self.made.append(self)

    def start(self) -> None:
        """Begun."""

    def wait_until_ready(self, _seconds: float, stopping: Any) -> bool:
        if self.starting is not None:
            type(self).starting()
        return not stopping.is_set()

    def terminate(self) -> None:
        self.process.told = True

    def kill(self) -> None:
        self.process.kill()

    def join(self) -> None:
        self.process.join()


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Iterator[supervising.Supervisor]:
    """With two workers; signals are this process's again afterwards."""
    kept = {one: signal.getsignal(one) for one in multiprocess.SIGNALS}
    made = type("Made", (_Worker,), {"made": [], "starting": None})
    monkeypatch.setattr(supervising, "Process", made)
    monkeypatch.setattr(supervising, "_LOOK_SECONDS", 0.001)
    opened = supervising.Supervisor(uvicorn.Config("nothing:here", workers=2), [])
    opened.processes = [made(), made()]
    yield opened
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_workers_are_replaced_one_after_the_other(supervisor: Any) -> None:
    old = list(supervisor.processes)
    supervisor.restart_all()
    assert not set(old) & set(supervisor.processes)
    assert all(one.process.ended for one in old)
    assert supervisor._retiring == []


def test_told_to_stop_while_a_new_worker_starts_it_waits_for_none(supervisor: Any) -> None:
    old = list(supervisor.processes)
    made = type(old[0])
    made.starting = staticmethod(lambda: supervisor.signal_queue.append(signal.SIGTERM))
    supervisor.restart_all()
    assert supervisor.processes == old, "the others answer until they are told to end"
    assert len(made.made) == 3
    assert made.made[2].process.ended
    supervisor.restart_all()
    assert len(made.made) == 3, "and no other round is begun"


def test_told_to_stop_while_an_old_worker_finishes_all_finish_at_once(supervisor: Any) -> None:
    old = list(supervisor.processes)
    old[0].process.stubborn = True
    old[0].process.while_waiting = [lambda: supervisor.signal_queue.append(signal.SIGINT)]
    supervisor.restart_all()
    assert supervisor.processes[1] is old[1]
    assert supervisor._retiring == [old[0]]
    # It is waited for with the others, once, and ended with them.
    old[0].process.stubborn = False
    supervisor.terminate_all()
    supervisor.join_all()
    assert all(one.process.ended for one in (*supervisor.processes, old[0]))


def test_a_worker_that_does_not_end_is_ended(
    supervisor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervising, "_GRACE_SECONDS", 0.0)
    stuck = supervisor.processes[0]
    stuck.process.stubborn = True
    supervisor.restart_all()
    assert stuck.process.ended
    stuck = supervisor.processes[1]
    stuck.process.stubborn = True
    supervisor.terminate_all()
    supervisor.join_all()
    assert stuck.process.ended


def test_stopped_amid_a_rolling_restart_nothing_of_it_goes_on(tmp_path: Path) -> None:
    port = free_port()
    host = Host(port, {"SHIMMY_STORE_URL": f"http://127.0.0.1:{port}"}, tmp_path)
    try:
        host.start()
        host.wait()
        before = host.pids()
        assert host.process is not None
        host.process.send_signal(signal.SIGHUP)
        both = eventually(lambda: host.pids() if host.pids() - before else None)
        assert host.stop() == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in both)
        assert not [*tmp_path.glob("shimmy-store-*")]
    finally:
        host.end()


def test_a_worker_counts_on_where_one_that_ended_has_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)

    def begin() -> Any:
        return take_meter_slot(str(tmp_path)), Counter("told", "…", registry=CollectorRegistry())

    def counted() -> float | None:
        collected = CollectorRegistry()
        MultiProcessCollector(collected, path=str(tmp_path))  # type: ignore[no-untyped-call]
        return collected.get_sample_value("told_total")

    first, count = begin()
    count.inc(3)
    second, other = begin()
    other.inc(4)
    assert counted() == 7
    assert len([*tmp_path.glob("counter_*.db")]) == 2
    first.close()  # As the kernel does, however it ended.
    third, again = begin()
    again.inc()
    assert counted() == 8
    assert sorted(one.name for one in tmp_path.glob("*.db")) == ["counter_1.db", "counter_2.db"]
    for one in (second, third):
        one.close()
