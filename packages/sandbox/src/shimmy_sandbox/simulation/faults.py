"""Faults on request: what goes wrong between a client and a simulator, as a queue of values."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeAlias, get_args

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shimmy_sandbox.simulation.exchange import read_body

FaultKind: TypeAlias = Literal["status", "status-after", "no-request", "no-reply", "late", "slow"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    ``kind``         "status": answer with ``status`` and do nothing;
                     "status-after": do the work, then answer with ``status``;
                     "no-request": drop the connection and do nothing;
                     "no-reply": do the work, then drop the connection;
                     "late": drop the connection, do the work ``seconds`` later;
                     "slow": wait ``seconds``, then go on as usual
    ``method``       only requests with this method; empty is any
    ``path``         only requests whose path contains this; empty is any
    ``times``        so many requests; -1 is every one until cleared
    ``retry_after``  seconds named in Retry-After, with a status
    """

    kind: FaultKind
    method: str = ""
    path: str = ""
    times: int = 1
    status: int = 503
    seconds: float = 0.0
    retry_after: int | None = None


def parse_fault(data: Any) -> Fault:
    """A fault from JSON; ValueError says what is wrong."""
    known = set(Fault.__slots__)
    if not isinstance(data, dict) or set(data) - known:
        raise ValueError(f"a fault is an object with some of {sorted(known)}")
    if data.get("kind") not in get_args(FaultKind):
        raise ValueError(f"kind must be one of {list(get_args(FaultKind))}")
    for name, types in _TYPES.items():
        if not isinstance(data.get(name, _DEFAULTS[name]), types):
            wanted = " or ".join(one.__name__ for one in types)
            raise ValueError(f"{name} is not {wanted}")  # noqa: TRY004 - wrong input, not a bug
    return Fault(**data)


_TYPES: dict[str, tuple[type, ...]] = {
    "method": (str,),
    "path": (str,),
    "times": (int,),
    "status": (int,),
    "seconds": (int, float),
    "retry_after": (int, type(None)),
}
_DEFAULTS = asdict(Fault("status"))


@dataclass(slots=True)
class FaultPlan:
    """The faults still to come, first match first."""

    faults: list[Fault] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, *faults: Fault) -> None:
        """Append ``faults``."""
        with self.lock:
            self.faults.extend(faults)

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        with self.lock:
            self.faults.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """The fault of this request, counted down."""
        with self.lock:
            for place, fault in enumerate(self.faults):
                if fault.method in ("", method) and fault.path in path:
                    self._count_down(place, fault)
                    return fault
        return None

    def _count_down(self, place: int, fault: Fault) -> None:
        if fault.times == 1:
            del self.faults[place]
        elif fault.times > 1:
            self.faults[place] = replace(fault, times=fault.times - 1)

    def waiting(self) -> Sequence[Fault]:
        """What is still to come."""
        with self.lock:
            return tuple(self.faults)


class FaultyApp:
    """ASGI middleware that makes requests go wrong as planned; ``/_sim`` itself never does."""

    def __init__(self, app: ASGIApp, plan: FaultPlan) -> None:
        self._app = app
        self._plan = plan
        self._late: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = None
        if scope["type"] == "http" and not scope["path"].startswith("/_sim"):
            fault = self._plan.take(scope["method"], scope["path"])
        if fault is None:
            await self._app(scope, receive, send)
            return
        body = await read_body(receive)
        if body is None:
            return
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
            await self._app(scope, _replay(body), send)
        elif fault.kind == "late":
            task = asyncio.create_task(self._later(fault.seconds, scope, body))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
            await _drop_connection(scope)
        else:
            if fault.kind in ("no-reply", "status-after"):
                await self._app(scope, _replay(body), _discard)
            if fault.kind in ("no-reply", "no-request"):
                await _drop_connection(scope)
            else:
                await _answer(send, fault)

    async def _later(self, seconds: float, scope: Scope, body: bytes) -> None:
        await asyncio.sleep(seconds)
        await self._app(scope, _replay(body), _discard)


def _replay(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _discard(_message: Message) -> None:
    return None


async def _drop_connection(scope: Scope) -> None:
    """Cut the connection under the reply; the transport is put there by ``loopback``."""
    transport = scope.get("state", {}).get("transport")
    if transport is None:
        raise RuntimeError("this server cannot drop connections; serve with simulation.loopback")
    transport.abort()
    # Once uvicorn has noticed that nobody listens any more, it does not miss a reply.
    await asyncio.sleep(0)


async def _answer(send: Send, fault: Fault) -> None:
    headers = [(b"content-type", b"text/plain")]
    if fault.retry_after is not None:
        headers.append((b"retry-after", str(fault.retry_after).encode()))
    await send({"type": "http.response.start", "status": fault.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"fault on request\n"})
