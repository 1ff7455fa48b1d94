"""A worker that was killed holds nobody up for minutes; one that lives is left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from ledger_places import MINUTE, NOW, Place, event, in_memory
from purchases_made import bought, lifetime
from stand_ins import Works

from shimmy_store.adapters import process_names
from shimmy_store.adapters.process_names import can_tell, is_gone, name_process
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.errors import LedgerError
from shimmy_store.ports.ledger import Lease
from shimmy_store.use_cases.fulfil_customer import LEASE
from shimmy_store.use_cases.sweep_events import sweep_events

SECOND = timedelta(seconds=1)
shown = pytest.mark.skipif(sys.platform != "linux", reason="no /proc: nobody is certainly gone")
_PROGRAM = (
    "from shimmy_store.adapters.process_names import name_process;"
    "print(name_process(), flush=True); input()"
)


def test_a_lease_of_a_killed_worker_is_over_soon(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        await ledger.add_event(event("e1", "cus_1"), "pending")
        await ledger.add_event(event("e2", "cus_2"), "pending")
        killed = await ledger.lease_customer("cus_1", "the killed", NOW, NOW + LEASE)
        lives = await ledger.lease_customer("cus_2", "who lives", NOW, NOW + LEASE)
        assert killed is not None and lives is not None
        in_the_way = [("cus_1", killed.token), ("cus_2", lives.token)]
        assert sorted(await ledger.leases_in_the_way(NOW)) == in_the_way
        await ledger.shorten_lease(killed.token, NOW + 15 * SECOND)
        # Again, by whoever comes next: it moves no further.
        await ledger.shorten_lease(killed.token, NOW + 20 * SECOND)
        later = NOW + 15 * SECOND
        assert await ledger.leases_in_the_way(later) == [("cus_2", lives.token)]
        (found,) = await ledger.due_work(later, 9)
        assert found.event.customer == "cus_1"
        assert await ledger.lease_customer("cus_1", "next", later, later + LEASE) is not None
        assert await ledger.lease_customer("cus_2", "next", later, later + LEASE) is None

    place.tell(story)


def test_nobody_is_asked_for_whom_nothing_waits(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        assert await ledger.lease_customer("cus_1", "a worker", NOW, NOW + LEASE) is not None
        assert await ledger.leases_in_the_way(NOW) == []

    place.tell(story)


@pytest.mark.parametrize("gone", [True, False])
def test_a_sweep_takes_over_from_who_is_gone(gone: bool) -> None:
    async def story(ledger: SqlLedger) -> None:
        works = Works(ledger, NOW)
        works.till.bought = {"cus_1": bought("cus_1", lifetime())}
        await ledger.add_event(event("e1", "cus_1"), "pending")
        await ledger.lease_customer("cus_1", "the killed", NOW, NOW + LEASE)
        asked = []

        def is_gone(owner: str) -> bool:
            asked.append(owner)
            return gone

        now = [NOW]
        fulfilment = replace(works.fulfilment(lambda: now[0]), is_gone=is_gone)
        assert (await sweep_events(fulfilment, lambda: 0.5)).settled == 0, "not at once"
        now[0] = NOW + 20 * SECOND
        assert (await sweep_events(fulfilment, lambda: 0.5)).settled == int(gone)
        assert set(asked) == {"the killed"}
        now[0] = NOW + 3 * MINUTE
        assert (await sweep_events(fulfilment, lambda: 0.5)).settled == int(not gone)

    in_memory().tell(story)


class TornLedger(SqlLedger):
    """The connection breaks as a customer is taken or given back; what was asked for is done."""

    breaks: Literal["take", "give", ""] = ""

    async def lease_customer(
        self, customer: str, owner: str, now: datetime, until: datetime
    ) -> Lease | None:
        lease = await super().lease_customer(customer, owner, now, until)
        if self.breaks == "take":
            raise _gone()
        return lease

    async def release_customer(self, lease: Lease, now: datetime) -> None:
        if self.breaks == "give":
            raise _gone()
        await super().release_customer(lease, now)


def _gone() -> LedgerError:
    return LedgerError("ledger-unreachable", "The ledger is gone.", retryable=True)


@pytest.mark.parametrize("breaks", ["take", "give"])
def test_a_lease_that_could_not_be_given_back_is_over_soon(breaks: Literal["take", "give"]) -> None:
    async def story(ledger: SqlLedger) -> None:
        torn = TornLedger(ledger._database)
        works = Works(torn, NOW)
        works.till.bought = {"cus_1": bought("cus_1", lifetime())}
        works.till.failing = {"cus_1": _gone()}
        await torn.add_event(event("e1", "cus_1"), "pending")
        now = [NOW]
        fulfilment = replace(works.fulfilment(lambda: now[0]), is_gone=lambda _: False)
        torn.breaks = breaks
        swept = await sweep_events(fulfilment, lambda: 0.5)
        assert (swept.settled, swept.waiting) == (0, 1)
        assert not fulfilment.in_hand
        # The event waits for its next turn, and then for the lease that nobody uses.
        torn.breaks, works.till.failing = "", {}
        now[0] = NOW + 30 * SECOND
        assert (await sweep_events(fulfilment, lambda: 0.5)).settled == 0, "not at once"
        now[0] += 20 * SECOND
        assert (await sweep_events(fulfilment, lambda: 0.5)).settled == 1

    in_memory().tell(story)


def test_a_lease_in_use_is_not_taken_by_the_next_round() -> None:
    async def story(ledger: SqlLedger) -> None:
        works = Works(ledger, NOW)
        await ledger.add_event(event("e1", "cus_1"), "pending")
        fulfilment = replace(works.fulfilment(), is_gone=lambda _: False)
        with fulfilment.hold("cus_1"):
            lease = await ledger.lease_customer("cus_1", fulfilment.owner, NOW, NOW + LEASE)
            assert lease is not None
            with fulfilment.hold("cus_1"):
                assert await ledger.lease_customer("cus_1", "another", NOW, NOW + LEASE) is None
            await sweep_events(fulfilment, lambda: 0.5)
            later = NOW + LEASE - SECOND
            assert await ledger.leases_in_the_way(later) == [("cus_1", lease.token)]
        await sweep_events(fulfilment, lambda: 0.5)
        assert await ledger.leases_in_the_way(NOW + 20 * SECOND) == []

    in_memory().tell(story)


@shown
def test_a_process_is_gone_once_it_was_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert " " not in name
        assert not is_gone(name)
        # Elsewhere a process of this number may live: another machine, another container, another
        # run of the system.
        parts = name.split("/")
        elsewhere = "/".join((parts[0], "another-boot", *parts[2:]))
        process.kill()
        # Dead, and nobody has asked after it yet.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        buried_is_gone = is_gone(name)
    assert buried_is_gone
    assert is_gone(name)
    assert not is_gone(elsewhere)
    # The number is another process's by now: it began at another moment.
    mine = name_process().split("/")
    assert not is_gone("/".join(mine))
    assert is_gone("/".join((*mine[:3], "1", mine[4])))


@pytest.mark.parametrize("name", ["", "a worker", "host-12-uuid", "a/b/c/d/e", "a//7//e"])
def test_of_a_stranger_nothing_is_known(name: str) -> None:
    assert not is_gone(name)


@shown
def test_a_process_that_is_stopped_is_not_gone() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        process.send_signal(signal.SIGSTOP)
        # Told once it has stopped.
        os.waitpid(process.pid, os.WUNTRACED)
        stopped_is_gone = is_gone(name)
        process.kill()
    assert not stopped_is_gone
    assert is_gone(name)


@shown
def test_a_process_that_is_hidden_from_us_is_not_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another user, where /proc shows nobody but one's own (hidepid, ProtectProc)."""
    host, place, _, start, rest = name_process().split("/")
    other = f"{host}/{place}/77/{start}/{rest}"
    shown = tmp_path / "proc"
    _show(shown, place)
    monkeypatch.setattr(process_names, "_PROC", shown)
    found: list[type[OSError]] = [PermissionError, ProcessLookupError]

    def kill(pid: int, number: int) -> None:
        assert (pid, number) == (77, 0)
        raise found.pop(0)

    monkeypatch.setattr(os, "kill", kill)
    assert not is_gone(other), "it is there, and is not shown"
    assert is_gone(other), "it is not there"


@shown
def test_a_view_from_elsewhere_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host's /proc in a container: another process has our number there."""
    name = name_process()
    shown = tmp_path / "proc"
    _show(shown, name.split("/")[1])
    monkeypatch.setattr(process_names, "_PROC", shown)
    assert can_tell() and is_gone(name), "there is nobody in it"
    (shown / "self").unlink()
    (shown / "self").symlink_to(str(os.getpid() + 1))
    assert not can_tell()
    assert not is_gone(name)
    assert name_process().split("/")[1] == ""


def _show(folder: Path, place: str) -> None:
    """A /proc with the same system and the same numbering, and no process in it."""
    boot, _, space = place.partition(".")
    own = folder / str(os.getpid())
    (own / "ns").mkdir(parents=True)
    (own / "ns/pid").symlink_to(space)
    (folder / "self").symlink_to(own.name)
    (folder / "sys/kernel/random").mkdir(parents=True)
    (folder / "sys/kernel/random/boot_id").write_text(f"{boot}\n", encoding="ascii")


@shown
def test_a_name_tells_when_the_process_began() -> None:
    assert can_tell()
    up = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    began = int(name_process().split("/")[3]) / os.sysconf("SC_CLK_TCK")
    assert 0 < began <= up


def test_names_differ_within_one_process() -> None:
    assert name_process() != name_process()
