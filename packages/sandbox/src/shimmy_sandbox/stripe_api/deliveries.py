"""Delivers events to webhook endpoints on loopback: signed, retried, and as the controls want."""

from __future__ import annotations

import json
import logging
import ssl
import threading
from dataclasses import dataclass, field
from typing import Any

import httpx

from shimmy_sandbox.simulation.clock import SimulatedClock
from shimmy_sandbox.stripe_api.books import Books, public
from shimmy_sandbox.stripe_api.passing_time import run_everything
from shimmy_sandbox.stripe_api.store import Store
from shimmy_sandbox.stripe_api.webhooks import payload_of, signature_header

_LOG = logging.getLogger(__name__)
RETRY_SECONDS = (60, 300, 1800, 7200, 18000, 36000, 43200, 43200, 43200, 43200, 23040)
"""Waits between attempts, simulated: three days in all."""
_ANSWER_SECONDS = 10
_LOOK_SECONDS = 0.05


@dataclass(slots=True)
class Courier:
    """A thread that delivers what is due, one request after the other, and lets time pass.

    Signatures carry real time, since that is what the receivers' libraries compare with; the
    setting ``timestamps`` = ``simulated`` makes them carry the sandbox's.
    """

    store: Store
    clock: SimulatedClock
    origin: str
    _stopping: threading.Event = field(default_factory=threading.Event)
    _woken: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; what was being sent when a server was killed is sent again."""
        with self.store.transaction():
            self.store.execute("UPDATE deliveries SET state = 'waiting' WHERE state = 'sending'")
        self._thread = threading.Thread(target=self._work, daemon=True, name="stripe-courier")
        self._thread.start()

    def stop(self) -> None:
        """End after the request in hand."""
        self._stopping.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join(_ANSWER_SECONDS + 5)

    def wake(self) -> None:
        """There may be something to do."""
        self._woken.set()

    def books(self) -> Books:
        """The books at the account's moment."""
        return Books(self.store, int(self.clock.now().timestamp()), self.origin)

    def busy(self) -> bool:
        """Whether something is due or under way; what is held or due later does not count."""
        sending = "SELECT count(*) FROM deliveries WHERE state = 'sending'"
        ready = "SELECT count(*) FROM deliveries WHERE state = 'waiting' AND due <= ?"
        with self.store.transaction():
            if self.store.rows(sending)[0][0]:
                return True
            if self.store.setting("hold", False):
                return False
            return bool(self.store.rows(ready, self.clock.now().timestamp())[0][0])

    def _work(self) -> None:
        # Loopback speaks no TLS; without this, httpx reads every root certificate first.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with httpx.Client(timeout=_ANSWER_SECONDS, trust_env=False, verify=context) as client:
            while not self._stopping.is_set():
                try:
                    if self._deliver_one(client):
                        continue
                except Exception:  # noqa: BLE001 - without this thread everything stands still
                    _LOG.exception("the sandbox itself failed while time passed")
                self._woken.wait(_LOOK_SECONDS)
                self._woken.clear()

    def _deliver_one(self, client: httpx.Client) -> bool:
        with self.store.transaction():
            run_everything(self.books())
        taken = self._take()
        if taken is None:
            return False
        self._note(taken, *self._send(client, taken))
        return True

    def _take(self) -> dict[str, Any] | None:
        with self.store.transaction():
            if self.store.setting("hold", False):
                return None
            found = self.store.rows(
                "SELECT * FROM deliveries WHERE state = 'waiting' AND due <= ? "
                "ORDER BY due, seq LIMIT 1",
                self.clock.now().timestamp(),
            )
            if not found:
                return None
            self.store.execute(
                "UPDATE deliveries SET state = 'sending' WHERE seq = ?", found[0]["seq"]
            )
            return dict(found[0])

    def _send(self, client: httpx.Client, taken: dict[str, Any]) -> tuple[int | None, str | None]:
        with self.store.transaction():
            event = self.store.get(taken["event"])
            endpoint = self.store.get(taken["endpoint"])
            if event is None or endpoint is None:
                return None, "the endpoint or the event is gone"
            payload = json.dumps(public(payload_of(self.books(), event)), indent=2).encode()
            now = int(self.clock.now().timestamp())
            real = self.store.setting("timestamps", "real") == "real"
            stamp = int(self.clock.real().timestamp()) if real else now
            signature = signature_header(endpoint, payload, now, stamp)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature,
            "User-Agent": "Stripe/1.0 (shimmy-sandbox, not for production)",
        }
        try:
            reply = client.post(endpoint["url"], content=payload, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            return None, f"{type(problem).__name__}: {problem}"
        return reply.status_code, None if reply.is_success else f"answered {reply.status_code}"

    def _note(self, taken: dict[str, Any], status: int | None, problem: str | None) -> None:
        waits = self.store.setting("retry_seconds", list(RETRY_SECONDS))
        tried = taken["attempts"] + 1
        state, due = "delivered", taken["due"]
        if problem is not None:
            state = "waiting" if tried <= len(waits) else "failed"
            if state == "waiting":
                due = self.clock.now().timestamp() + waits[tried - 1]
        with self.store.transaction():
            self.store.execute(
                "UPDATE deliveries SET state = ?, due = ?, attempts = ?, last_status = ?, "
                "last_problem = ? WHERE seq = ?",
                state,
                due,
                tried,
                status,
                problem,
                taken["seq"],
            )


def was_tried(store: Store, event: str) -> bool:
    """Whether every delivery of ``event`` was attempted or does not come soon."""
    sql = (
        "SELECT count(*) FROM deliveries WHERE event = ? AND attempts = 0 "
        "AND due <= first AND state IN ('waiting', 'sending')"
    )
    return bool(store.setting("hold", False)) or store.rows(sql, event)[0][0] == 0
