"""Makes a plan's faults happen, each at its moment."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import httpx

from chaos_plan import Fault, Plan
from chaos_street import ChaosStreet, sleep_until
from store_crowd import HANDLED

_API = {"path": "/v1/"}
# A fault of this kind is this order to the simulator; times and seconds are the plan's.
_CALLS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "stripe-503": ("stripe", {"kind": "status", "status": 503}),
    "stripe-503-after-it-was-done": ("stripe", {"kind": "status-after", "status": 503}),
    "stripe-cut": ("stripe", {"kind": "no-request"}),
    "stripe-cut-after-it-was-done": ("stripe", {"kind": "no-reply"}),
    "stripe-slow": ("stripe", {"kind": "slow"}),
    "stripe-late": ("stripe", {"kind": "late", "method": "POST"}),
    "keygen-500": ("keygen", {"kind": "status", "status": 500}),
    "keygen-429": ("keygen", {"kind": "status", "status": 429, "retry_after": 1}),
    "keygen-slow": ("keygen", {"kind": "slow"}),
    "keygen-cut": ("keygen", {"kind": "no-request"}),
    "keygen-cut-after-it-was-done": ("keygen", {"kind": "no-reply"}),
    "keygen-500-after-it-was-done": ("keygen", {"kind": "status-after", "status": 500}),
}
_LETTERS: Mapping[str, dict[str, Any]] = {
    "smtp-refused": {"stage": "connect", "kind": "temporary"},
    "smtp-not-now": {"stage": "rcpt", "kind": "temporary"},
    "smtp-cut-after-data": {"stage": "after-data", "kind": "drop"},
    "smtp-cut": {"stage": "data", "kind": "drop"},
    "smtp-slow": {"stage": "mail", "kind": "slow"},
}
_TIMED = ("slow", "late")
# Slower than the store waits for anybody.
_TIMEOUT_SECONDS = 12.0


class Trouble:
    """A thread that goes through the plan; ``done`` counts what happened, ``failed`` what did not.

    After the last fault it undoes what lasts, notes the moment as ``over`` and sets ``closing``.
    """

    def __init__(self, street: ChaosStreet, plan: Plan, closing: threading.Event) -> None:
        self._street, self._plan, self._closing = street, plan, closing
        self.done, self.failed = Counter[str](), Counter[str]()
        self._stopping = threading.Event()
        self._undoing: list[threading.Timer] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.began = self.over = 0.0

    def begin(self) -> None:
        """The plan's moments are counted from now."""
        self.began = time.monotonic()
        self._thread.start()

    def end(self, *, at_once: bool = False) -> None:
        """Wait for the last fault and what is undone after it."""
        if at_once:
            self._stopping.set()
        self._thread.join()

    def _heal(self) -> None:
        for timer in self._undoing:
            timer.join()
        programs = (self._street.store, self._street.sweeper)
        self._street.disk.free(programs)
        if self._street.server is not None:
            self._street.server.mend()
        self._street.set_clock()
        self._street.forget_faults()

    def _run(self) -> None:
        try:
            self._go_through()
            self._heal()
        except httpx.HTTPError:
            # Ctrl-C ends the town, too: then there is nobody left to heal.
            if not self._stopping.is_set():
                raise
        finally:
            self.over = time.monotonic()
            self._closing.set()

    def _go_through(self) -> None:
        for fault in self._plan.faults:
            if not sleep_until(self.began + fault.at, self._stopping):
                return
            try:
                self._do(fault)
                self.done[fault.kind] += 1
            except (httpx.HTTPError, AssertionError, OSError):
                self.failed[fault.kind] += 1

    def _do(self, fault: Fault) -> None:
        street = self._street
        if fault.kind in _CALLS:
            self._call(fault)
            return
        if fault.kind in _LETTERS:
            shape = _LETTERS[fault.kind]
            slow = {"seconds": fault.seconds} if shape["kind"] == "slow" else {}
            street.control("mail", "smtp", {**shape, **slow, "times": fault.times})
            return
        match fault.kind:
            case "kill-store":
                street.store.kill()
            case "kill-sweeper":
                street.sweeper.kill()
            case "clock-forward" | "month-passes":
                street.pass_time(fault.seconds)
            case "database-restart" if street.server is not None:
                street.server.restart()
            case _:
                self._last_a_while(fault)

    def _call(self, fault: Fault) -> None:
        whom, shape = _CALLS[fault.kind]
        # One in four is slower than the store's patience.
        slow = _TIMEOUT_SECONDS if fault.times == 1 else fault.seconds
        timed = {"seconds": slow} if shape["kind"] in _TIMED else {}
        times = 1 if timed else fault.times
        self._street.control(whom, "faults", {**_API, **shape, **timed, "times": times})

    def _last_a_while(self, fault: Fault) -> None:
        street, programs = self._street, (self._street.store, self._street.sweeper)
        match fault.kind:
            case "disk-full":
                street.disk.fill(programs)
                self._later(fault.seconds, lambda: street.disk.free(programs))
            case "clocks-apart":
                street.set_clock(fault.seconds)
                self._later(3.0, street.set_clock)
            case "webhooks-reversed":
                street.control("stripe", "deliveries", {"hold": True})
                self._later(fault.seconds, lambda: self._deliver({"release": "reversed"}))
            case "webhooks-doubled":
                street.control("stripe", "deliveries", {"duplicate": 2})
                self._later(fault.seconds, lambda: self._deliver({"duplicate": 0}))
            case "webhooks-lost":
                street.control("stripe", "deliveries", {"drop": sorted(HANDLED)})
                self._later(fault.seconds, lambda: self._deliver({"drop": []}))
            case "webhooks-delayed":
                street.control("stripe", "deliveries", {"delay_seconds": fault.seconds})
                self._later(fault.seconds, lambda: self._deliver({"delay_seconds": 0}))
            case _:
                raise ValueError(fault.kind)

    def _deliver(self, order: Mapping[str, Any]) -> None:
        self._street.control("stripe", "deliveries", order)

    def _later(self, seconds: float, undo: Any) -> None:
        timer = threading.Timer(seconds, undo)
        timer.daemon = True
        timer.start()
        self._undoing.append(timer)
