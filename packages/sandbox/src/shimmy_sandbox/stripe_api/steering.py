"""The ``/_sim`` endpoints of this simulator: time, deliveries, payments, disputes, billing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from shimmy_sandbox.stripe_api import disputes, lifecycle, purchase
from shimmy_sandbox.stripe_api.app import StripeApp
from shimmy_sandbox.stripe_api.books import Books, public
from shimmy_sandbox.stripe_api.deliveries import Courier
from shimmy_sandbox.stripe_api.passing_time import run_everything
from shimmy_sandbox.stripe_api.store import Document
from shimmy_sandbox.stripe_api.webhooks import OVERLAP_SECONDS, rotate_secret, secrets_of
from shimmy_sandbox.stripe_api.wire import RefusalError

Check: TypeAlias = Callable[[Any], bool]


def _amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(check(one) for one in value)


_MOST = 10**9
_DELIVERY_SETTINGS: Mapping[str, Check] = {
    "hold": lambda value: isinstance(value, bool),
    "delay_seconds": _amount,
    "duplicate": lambda value: type(value) is int and 0 <= value <= 100,
    "drop": _list_of(lambda value: isinstance(value, str)),
    "retry_seconds": _list_of(_amount),
    "timestamps": lambda value: value in ("real", "simulated"),
}
_BILLING_SETTINGS: Mapping[str, Check] = {
    "retry_days": _list_of(_amount),
    "after_retries": lambda value: value in ("cancel", "unpaid", "past_due"),
    "search_lag_seconds": _amount,
}
_FORCED = ("api-error", "api-error-after", "lock-timeout")

Order: TypeAlias = Mapping[str, Any]


@dataclass(slots=True)
class Steering:
    """What tests and operators turn, beside clock, faults and requests.

    ``POST tick``               do what is due: ``{"done": N}``
    ``POST deliveries``         settings: hold, delay_seconds, duplicate, drop (event types),
                                retry_seconds, timestamps (real, simulated); actions: release
                                ("in-order" or "reversed"), resend (an event id)
    ``POST deliveries/idle``    wait until nothing is due or under way: ``{"timeout_seconds": N}``
    ``POST billing``            retry_days, after_retries (cancel, unpaid, past_due),
                                search_lag_seconds
    ``POST answers``            ``{"kind": "api-error"|"api-error-after"|"lock-timeout",
                                "times": N, "path": part}``
    ``POST thinking``           ``{"seconds": N}`` between accepting a request and its work
    ``POST payments/{intent}``  ``{"outcome": "succeed"|"fail"}`` for an asynchronous payment
    ``POST disputes``           ``{"charge": id, "reason": text, "inquiry": bool}``
    ``POST disputes/{id}``      ``{"status": "under_review"|"won"|"lost"|"warning_closed"}``
    ``POST pause/{subscription}``, ``POST rotate/{endpoint}`` (``{"overlap_seconds": N}``)
    ``POST keys``               ``{"key": text, "accepted": bool}``: as when a key is rolled
    ``GET secrets``             the secrets that sign for each endpoint now, newest first
    """

    app: StripeApp
    courier: Courier

    def routes(self) -> Sequence[Route]:
        """Starlette routes below ``/_sim``."""
        return (
            Route("/_sim/tick", self._order(self._tick, on_time=False), methods=["POST"]),
            Route("/_sim/deliveries", self._order(self._deliveries), methods=["GET", "POST"]),
            Route("/_sim/deliveries/idle", self._idle, methods=["POST"]),
            Route("/_sim/billing", self._order(self._billing), methods=["GET", "POST"]),
            Route("/_sim/answers", self._order(self._answers), methods=["GET", "POST"]),
            Route("/_sim/thinking", self._order(self._thinking), methods=["GET", "POST"]),
            Route("/_sim/payments/{id}", self._order(self._payment), methods=["POST"]),
            Route("/_sim/disputes", self._order(self._dispute), methods=["POST"]),
            Route("/_sim/disputes/{id}", self._order(self._close), methods=["POST"]),
            Route("/_sim/pause/{id}", self._order(self._pause), methods=["POST"]),
            Route("/_sim/rotate/{id}", self._order(self._rotate), methods=["POST"]),
            Route("/_sim/keys", self._order(self._keys), methods=["POST"]),
            Route("/_sim/secrets", self._order(self._secrets), methods=["GET"]),
        )

    def _order(
        self, act: Callable[[Books, Order, str], Order], *, on_time: bool = True
    ) -> Callable[[Request], Awaitable[JSONResponse]]:
        """``on_time``: what is due happens before."""

        async def answer(request: Request) -> JSONResponse:
            body = await request.body()
            try:
                order = dict(json.loads(body)) if body else {}
                books = self.courier.books()
                with self.courier.store.transaction():
                    if on_time:
                        run_everything(books)
                    done = act(books, order, request.path_params.get("id", ""))
            except (ValueError, KeyError, TypeError, RefusalError) as problem:
                return JSONResponse({"error": str(problem)}, status_code=400)
            self.courier.wake()
            return JSONResponse(done)

        return answer

    def _tick(self, books: Books, _order: Order, _id: str) -> Order:
        return {"done": run_everything(books), "now": books.now}

    def _deliveries(self, books: Books, order: Order, _id: str) -> Order:
        store = books.store
        actions = {"release", "resend"}
        _settings(books, order, _DELIVERY_SETTINGS, actions)
        if "release" in order:
            self._release(books, order["release"])
        if "resend" in order:
            sql = (
                "INSERT INTO deliveries (event, endpoint, due, first, state) SELECT DISTINCT "
                "event, endpoint, ?, ?, 'waiting' FROM deliveries WHERE event = ?"
            )
            if not store.execute(sql, books.now, books.now, order["resend"]):
                raise ValueError(f"no delivery of {order['resend']} is known")
        listed = [
            {**dict(row), "type": (store.get(row["event"]) or {}).get("type")}
            for row in store.rows("SELECT * FROM deliveries ORDER BY seq")
        ]
        settings = {name: store.setting(name, None) for name in _DELIVERY_SETTINGS}
        return {"deliveries": listed, "settings": settings}

    def _release(self, books: Books, how: str) -> None:
        if how not in ("in-order", "reversed"):
            raise ValueError("release is in-order or reversed")
        if how == "reversed":
            # The newest first: everything waiting is due, and the later it came the sooner.
            sql = "UPDATE deliveries SET due = ? - seq WHERE state = 'waiting' AND attempts = 0"
            books.store.execute(sql, books.now)
        books.store.set_setting("hold", False)

    async def _idle(self, request: Request) -> JSONResponse:
        body = await request.body()
        try:
            seconds = float(dict(json.loads(body)).get("timeout_seconds", 10)) if body else 10.0
        except (ValueError, TypeError) as problem:
            return JSONResponse({"error": str(problem)}, status_code=400)
        for _ in range(max(int(seconds / 0.02), 1)):
            self.courier.wake()
            if not self.courier.busy():
                return JSONResponse({"idle": True})
            await asyncio.sleep(0.02)
        return JSONResponse({"idle": False})

    def _billing(self, books: Books, order: Order, _id: str) -> Order:
        _settings(books, order, _BILLING_SETTINGS, set())
        return {name: books.store.setting(name, None) for name in _BILLING_SETTINGS}

    def _answers(self, _books: Books, order: Order, _id: str) -> Order:
        if order:
            if order.get("kind") not in _FORCED:
                raise ValueError(f"kind must be one of {list(_FORCED)}")
            one = {"path": "", "times": 1, **order}
            if set(one) != {"kind", "path", "times"} or not isinstance(one["times"], int):
                raise ValueError("give kind, and times (a number) and path if you like")
            self.app.api.forced.append(one)
        return {"answers": self.app.api.forced}

    def _thinking(self, _books: Books, order: Order, _id: str) -> Order:
        if order:
            self.app.thinking = float(order["seconds"])
        return {"seconds": self.app.thinking}

    def _payment(self, books: Books, order: Order, identifier: str) -> Order:
        intent = books.get("payment_intent", identifier)
        if intent["status"] != "processing" or order.get("outcome") not in ("succeed", "fail"):
            raise ValueError("give outcome succeed or fail for a payment that is processing")
        books = books.for_customer(intent["customer"])
        purchase.payment_settled(books, {**intent, "_outcome": order["outcome"]})
        return public(books.get("payment_intent", identifier))

    def _dispute(self, books: Books, order: Order, _id: str) -> Order:
        charge = books.get("charge", order["charge"])
        reason, inquiry = order.get("reason", "fraudulent"), bool(order.get("inquiry", False))
        books = books.for_customer(charge["customer"])
        return public(disputes.open_dispute(books, charge, reason, inquiry=inquiry))

    def _close(self, books: Books, order: Order, identifier: str) -> Order:
        made: Document = books.get("dispute", identifier)
        match order.get("status"):
            case "under_review":
                return public(disputes.review(books, made))
            case "won" | "lost" | "warning_closed" as ending:
                return public(disputes.close(books, made, ending))
            case _:
                raise ValueError("status is under_review, won, lost or warning_closed")

    def _pause(self, books: Books, _order: Order, identifier: str) -> Order:
        subscription = books.get("subscription", identifier)
        if subscription["status"] != "active":
            raise ValueError("only an active subscription can be paused")
        return public(lifecycle.pause(books.for_customer(subscription["customer"]), subscription))

    def _rotate(self, books: Books, order: Order, identifier: str) -> Order:
        endpoint = books.get("webhook_endpoint", identifier)
        overlap = int(order.get("overlap_seconds", OVERLAP_SECONDS))
        return {"secret": rotate_secret(books, endpoint, overlap)}

    def _keys(self, _books: Books, order: Order, _id: str) -> Order:
        key, accepted = order["key"], order["accepted"]
        if not isinstance(key, str) or not key.startswith(("sk_test_", "rk_test_")):
            raise ValueError("key is one of test mode: sk_test_… or rk_test_…")
        self.app.api.rolled[key] = bool(accepted)
        return {"accepted": bool(accepted)}

    def _secrets(self, books: Books, _order: Order, _id: str) -> Order:
        endpoints = books.store.find("webhook_endpoint")
        return {"secrets": {one["id"]: secrets_of(one, books.now) for one in endpoints}}


def _settings(books: Books, order: Order, known: Mapping[str, Check], actions: set[str]) -> None:
    for name, value in order.items():
        if name in actions:
            continue
        if name not in known:
            raise ValueError(f"{name} is none of {sorted(set(known) | actions)}")
        if not known[name](value):
            raise ValueError(f"{name} has no such value")
        books.store.set_setting(name, value)
