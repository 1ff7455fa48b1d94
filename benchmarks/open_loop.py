"""Requests that start on schedule, whether or not earlier ones have come back.

A loop that waits for an answer before it asks again asks less often just when answers are slow, and
so does not see how slow they are. Here every request has its moment, and its time is counted from
that moment on, also where this program was late. HTTP/1.1 on plain sockets: a client for everything
would take more of the machine than the server that is measured.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

_PATIENCE_SECONDS = 10.0
# Servers close what is idle for a few seconds; a connection is not used again when it might be.
_IDLE_SECONDS = 2.0
_Connection: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Shot:
    """One request, and which answers are right."""

    name: str
    method: str
    path: str
    right: tuple[int, ...]
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """What came of it. ``status`` 0: no answer. Both times are from the scheduled moment on."""

    shot: Shot
    status: int
    body: bytes
    late_ms: float
    took_ms: float

    @property
    def right(self) -> bool:
        """Whether the answer is one of those expected."""
        return self.status in self.shot.right


async def shoot(
    host: str, port: int, rate: float, count: int, make: Callable[[int], Shot]
) -> list[Hit]:
    """``count`` requests at ``rate`` a second; ``make`` is asked at each one's moment."""
    range_ = _Range(host, port)
    start, running = time.perf_counter() + 0.2, []
    for number in range(count):
        due = start + number / rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        running.append(asyncio.create_task(range_.fire(make(number), due)))
    hits = await asyncio.gather(*running)
    range_.close()
    return hits


class Volley:
    """Closed loop: ``wide`` connections, each with its next request once the last is answered."""

    def __init__(self, host: str, port: int, wide: int) -> None:
        self._range, self._wide = _Range(host, port), wide

    async def fire(self, shots: Sequence[Shot]) -> list[Hit]:
        """All of them, as fast as they are answered; times are from each one's sending on."""
        left, hits = iter(shots), list[Hit]()

        async def gun() -> None:
            for shot in left:
                hits.append(await self._range.fire(shot, time.perf_counter()))

        await asyncio.gather(*(gun() for _ in range(self._wide)))
        self._range.close()
        return hits


class _Range:
    """Connections that are kept; a new one where all are in use."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._idle: list[tuple[float, _Connection]] = []

    async def fire(self, shot: Shot, due: float) -> Hit:
        late = (time.perf_counter() - due) * 1000
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                status, body = await self._ask(shot)
        except (OSError, EOFError, ValueError, TimeoutError):
            status, body = 0, b""
        return Hit(shot, status, body, late, (time.perf_counter() - due) * 1000)

    async def _ask(self, shot: Shot) -> tuple[int, bytes]:
        reader, writer = await self._connect()
        try:
            writer.write(self._written(shot))
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = head.partition("\r\ncontent-length:")[2].partition("\r\n")[0]
            body = await reader.readexactly(int(length))
        except BaseException:
            writer.close()
            raise
        if "\r\nconnection: close" in head:
            writer.close()
        else:
            self._idle.append((time.perf_counter(), (reader, writer)))
        return int(head.split(" ", 2)[1]), body

    async def _connect(self) -> _Connection:
        while self._idle:
            since, (reader, writer) = self._idle.pop()
            if time.perf_counter() - since < _IDLE_SECONDS and not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self._host, self._port)

    def _written(self, shot: Shot) -> bytes:
        headers = {"Host": f"{self._host}:{self._port}", **shot.headers}
        if shot.body:
            headers["Content-Length"] = str(len(shot.body))
        lines = [f"{shot.method} {shot.path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + shot.body

    def close(self) -> None:
        for _, (_, writer) in self._idle:
            writer.close()


def summarise(hits: Sequence[Hit]) -> dict[str, float | int]:
    """Count, errors and milliseconds; every percentile is a time that was measured."""
    times = sorted(one.took_ms for one in hits) or [0.0]
    return {
        "count": len(hits),
        "errors": sum(not one.right for one in hits),
        "p50_ms": percentile(times, 50),
        "p95_ms": percentile(times, 95),
        "p99_ms": percentile(times, 99),
        "max_ms": percentile(times, 100),
    }


def percentile(times: Sequence[float], per_cent: int) -> float:
    """The nearest rank of times in order."""
    rank = -(-len(times) * per_cent // 100)
    return round(times[max(rank, 1) - 1], 1)
