"""Samples on disk: what goes in comes out, for two writers, and only as long as it should."""

from __future__ import annotations

import sqlite3
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from sampled_store import NOW, ago, sampled, visits

from shimmy_ops.adapters.monitoring.sqlite_samples import SqliteSamples
from shimmy_ops.domain.monitoring.samples import Books, Findings
from shimmy_ops.errors import MonitorError


def test_a_sample_comes_back_as_it_was(tmp_path: Path) -> None:
    book = SqliteSamples(tmp_path / "state" / "samples.sqlite")
    found = Findings(
        alarms={"dispute-open": 1},
        endpoint="enabled",
        undelivered_seconds=1.5,
        books=Books(NOW.isoformat(), 7900, 1, ("cus_1",), ()),
        unread={"tickets": "tickets-unreadable"},
    )
    samples = [
        sampled(ago(minutes=2), up=False),
        sampled(ago(minutes=1), visits(3, 1), born=ago(hours=1), gauges={"x": 1.0}, findings=found),
        sampled(NOW, {}),
    ]
    for one in reversed(samples):
        book.add(one)
    assert list(book.since(ago(minutes=5))) == samples
    assert list(book.since(ago(minutes=1))) == samples[1:]
    assert list(book.since(ago(minutes=5), ago(minutes=1))) == samples[:2]
    book.prune(NOW)
    assert list(book.since(ago(days=1))) == samples[2:]
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / "samples.sqlite").stat().st_mode & 0o777 == 0o600


def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "samples.sqlite"

    def write(offset: int) -> None:
        for number in range(15):
            SqliteSamples(path).add(sampled(NOW + timedelta(seconds=2 * number + offset)))

    threads = [threading.Thread(target=write, args=(offset,)) for offset in (0, 1)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    times = [one.at for one in SqliteSamples(path).since(NOW)]
    assert times == [NOW + timedelta(seconds=one) for one in range(30)]


def test_a_file_that_is_damaged_or_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "samples.sqlite"
    path.write_bytes(b"no database at all, but long enough to be looked at" * 9)
    with pytest.raises(MonitorError) as refused:
        SqliteSamples(path).add(sampled(NOW))
    assert refused.value.code == "samples-unusable"
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(MonitorError) as refused:
        list(SqliteSamples(path).since(NOW))
    assert refused.value.code == "samples-newer"
