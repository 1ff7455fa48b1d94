"""Serves the Stripe simulator on loopback, its state in one SQLite file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Mount, Route

from shimmy_sandbox.simulation.controls import Controls, RecordingApp
from shimmy_sandbox.simulation.faults import FaultyApp
from shimmy_sandbox.simulation.loopback import Served, serve_on_loopback
from shimmy_sandbox.stripe_api.api import Api
from shimmy_sandbox.stripe_api.app import StripeApp
from shimmy_sandbox.stripe_api.deliveries import Courier
from shimmy_sandbox.stripe_api.idempotency import IdempotencyKeys
from shimmy_sandbox.stripe_api.identity import ACCOUNT_ID, API_KEY, PUBLISHABLE_KEY
from shimmy_sandbox.stripe_api.steering import Steering
from shimmy_sandbox.stripe_api.store import Store


@dataclass(frozen=True, slots=True)
class StripeServer(Served):
    """A running simulator."""

    api_key: str = API_KEY
    """Fixed and published: no secret."""
    publishable_key: str = PUBLISHABLE_KEY
    account: str = ACCOUNT_ID


@contextmanager
def serve_stripe(
    path: Path | str, port: int = 0, controls: Controls | None = None
) -> Iterator[StripeServer]:
    """Serve the state in ``path`` (``":memory:"``: none) on 127.0.0.1 until the block ends.

    Raises StateError for a file that is no state of this sandbox, OSError for a port in use.
    """
    controls = controls or Controls()
    store = Store(path)
    try:
        app = StripeApp(store, controls.clock, Api(IdempotencyKeys(store), API_KEY))
        courier = Courier(store, controls.clock, "")
        answering = RecordingApp(FaultyApp(app, controls.faults), controls)
        steering = Steering(app, courier)
        routes: Sequence[Route | Mount] = (
            *controls.routes(),
            *steering.routes(),
            Mount("/", answering),
        )
        with serve_on_loopback(Starlette(routes=routes), port) as loopback:
            courier.origin = loopback.url
            courier.start()
            try:
                yield StripeServer(loopback, controls)
            finally:
                courier.stop()
    finally:
        store.close()
