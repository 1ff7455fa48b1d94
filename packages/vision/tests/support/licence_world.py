"""A licence server on loopback and customers' machines that talk to it, on simulated clocks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from shimmy_sandbox.keygen import shop as keygen_shop
from shimmy_sandbox.keygen.server import KeygenServer, serve_keygen
from shimmy_sandbox.simulation.clock import SimulatedClock
from shimmy_sandbox.simulation.faults import Fault
from shimmy_vision.adapters.licence.keygen_licences import KeygenLicences
from shimmy_vision.adapters.licence.signed_exchange import SignedExchange
from shimmy_vision.adapters.licence.sqlite_licence_state import SqliteLicenceState
from shimmy_vision.domain.licence.licensor import Licensor
from shimmy_vision.domain.licence.machine_id import MachineId, fingerprint_of
from shimmy_vision.domain.licence.pinned import PINNED
from shimmy_vision.ports.licensing import Licensing

REPOSITORY = Path(__file__).resolve().parents[4]
PLANS = json.loads((REPOSITORY / "contracts/plans.json").read_text())["plans"]


@dataclass(frozen=True)
class Sold:
    """A licence as its buyer and its seller know it."""

    id: str
    key: str = field(repr=False)


@dataclass(frozen=True)
class Shop:
    """A stocked licence server; ``admin`` may do what a shop may."""

    server: KeygenServer
    admin: httpx.Client

    @property
    def clock(self) -> SimulatedClock:
        return self.server.controls.clock

    def sell(self, plan: str = "developer", **wishes: Any) -> Sold:
        sold = keygen_shop.sell(self.server, plan, **wishes)
        return Sold(sold["id"], sold["attributes"]["key"])

    def find(self, key: str) -> Sold:
        """The licence with this key."""
        return Sold(self.admin.get(f"licenses/{key}").json()["data"]["id"], key)

    def fault(self, kind: str, path: str = "", **more: Any) -> None:
        self.server.controls.faults.add(Fault(kind=kind, path=path, **more))  # type: ignore[arg-type]

    def heal(self) -> None:
        self.server.controls.faults.clear()

    def forget(self) -> None:
        """Nothing was asked, nothing goes wrong, and it is now."""
        self.heal()
        self.clock.reset()
        self.server.controls.seen.clear()

    def act(self, sold: Sold, action: str) -> None:
        """suspend, reinstate, reset-usage, …"""
        reply = self.admin.post(f"licenses/{sold.id}/actions/{action}")
        assert reply.status_code == 200, reply.text

    def change(self, sold: Sold, **attributes: Any) -> None:
        data = {"type": "licenses", "attributes": attributes}
        reply = self.admin.patch(
            f"licenses/{sold.id}",
            content=json.dumps({"data": data}),
            headers={"Content-Type": "application/vnd.api+json"},
        )
        assert reply.status_code == 200, reply.text

    def attributes(self, sold: Sold) -> Mapping[str, Any]:
        """The licence as the server has it."""
        attributes: Mapping[str, Any] = self.admin.get(f"licenses/{sold.id}").json()["data"][
            "attributes"
        ]
        return attributes

    def uses(self, sold: Sold) -> int:
        return int(self.attributes(sold)["uses"])

    def asked(self) -> list[str]:
        """What clients other than the shop have asked so far: method and path's end."""
        return [
            f"{one['method']} {one['path'].rpartition('/')[2]}" for one in self.server.controls.seen
        ]


@dataclass
class Customer:
    """One machine; ``licensing()`` is a fresh process on it."""

    shop: Shop
    folder: Path
    machine: str = "machine-1"
    given_key: str | None = field(default=None, repr=False)
    skew: timedelta = timedelta(0)
    licensor: Licensor = PINNED
    api_url: str | None = None
    timeout: float = 5.0
    offline: bool = False
    opened: ExitStack = field(default_factory=ExitStack)

    def now(self) -> datetime:
        return self.shop.clock.now() + self.skew

    @property
    def state_file(self) -> Path:
        return self.folder / "licence.sqlite"

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(MachineId("flag", self.machine), self.licensor.account)

    def state(self, busy_seconds: float = 30.0) -> SqliteLicenceState:
        """The state file, opened once more; closed with the test."""
        state = SqliteLicenceState(
            self.state_file, self.licensor.account, busy_seconds=busy_seconds
        )
        state.use_fingerprint(self.fingerprint)
        self.opened.callback(state.close)
        return state

    def licensing(self) -> Licensing:
        """As ``wiring`` builds it; closed with the test."""
        state = self.state()
        exchange = SignedExchange(
            self.api_url or self.shop.server.url,
            self.licensor.account,
            self.licensor.public_key,
            now=self.now,
            timeout=self.timeout,
            offline=self.offline,
        )
        self.opened.callback(exchange.close)
        return Licensing(
            licensor=self.licensor,
            server=KeygenLicences(exchange, self.licensor.product),
            state=state,
            fingerprint=self.fingerprint,
            machine_name=f"name of {self.machine}",
            platform="Linux test",
            given_key=self.given_key,
            now=self.now,
        )

    @contextmanager
    def process(self) -> Iterator[Licensing]:
        """A process that ends with the block."""
        with ExitStack() as opened:
            yield replace(self, opened=opened).licensing()


@contextmanager
def open_shop(path: Path | str = ":memory:") -> Iterator[Shop]:
    """A stocked shop; with a file it can be opened again."""
    with serve_keygen(path) as server:
        keygen_shop.stock_shop(server, PLANS)
        base = f"{server.url}/v1/accounts/{server.account}/"
        headers = {"Authorization": f"Bearer {server.admin_token}"}
        with httpx.Client(base_url=base, headers=headers, trust_env=False) as admin:
            yield Shop(server, admin)


MakeCustomer = Callable[..., Customer]
