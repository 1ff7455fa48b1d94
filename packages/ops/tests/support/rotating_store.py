"""A store in a process of its own that goes on selling while its secrets are replaced."""

from __future__ import annotations

import itertools
import json
import shlex
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from provisioning_town import NO_TLS, Ran
from released_store import ReleasedStore, open_released_store
from store_server import eventually

from shimmy_sandbox.cli.buy import pay_page

PATIENCE = ("--patience", "60")


@dataclass
class Shopper:
    """Buys every so often, as somebody new each time."""

    url: str
    paid: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        for number in itertools.cycle(range(2, 250)):
            if self.stopping.wait(0.3):
                return
            # From elsewhere each time: the store counts how often one visitor begins to buy.
            own = httpx.HTTPTransport(local_address=f"127.0.0.{number}", verify=NO_TLS)
            # A store that begins anew answers nobody for a moment; whoever paid is owed.
            with suppress(httpx.HTTPError), httpx.Client(transport=own, timeout=30) as browser:
                self._buy(browser, f"buyer{len(self.paid)}@shimmy.example")

    def _buy(self, browser: httpx.Client, email: str) -> None:
        opened = browser.get(f"{self.url}/buy", params={"plan": "startup"})
        if opened.is_redirect:
            paid = browser.get(opened.headers["location"])
            if paid.is_success:
                self.paid.append(email)
                pay_page(browser, opened.headers["location"], email, "4242424242424242")


@dataclass
class Rotating:
    """``released`` has the store; commands replace secrets on its profile."""

    released: ReleasedStore
    capsys: pytest.CaptureFixture[str]

    @property
    def folder(self) -> Path:
        return self.released.folder

    def rotate(self, secret: str, *given: str) -> Ran:
        more = () if secret == "status" else PATIENCE
        return self.released.town.run(self.capsys, "rotate", secret, *more, *given)

    def kept(self, name: str) -> str:
        return (self.folder / "secrets" / name).read_text().strip()

    def state(self, secret: str) -> Any:
        path = self.folder / "shimmy-state/sandbox/rotations" / f"{secret}.json"
        return json.loads(path.read_text())

    def told(self, variable: str) -> str:
        """What the store's environment leads to."""
        name = f"export SHIMMY_STORE_{variable}_FILE="
        lines = (self.folder / "current.env").read_text().splitlines()
        (line,) = [one for one in lines if one.startswith(name)]
        return Path(shlex.split(line.removeprefix(name))[0]).read_text().strip()

    @contextmanager
    def selling(self) -> Iterator[Shopper]:
        """Somebody buys all the while; in the end everybody has a licence, nothing was refused."""
        shopper = Shopper(self.released.url)
        thread = threading.Thread(target=shopper.run, daemon=True)
        thread.start()
        try:
            yield shopper
            # And once more, with what is in place now.
            before = len(shopper.paid)
            eventually(lambda: len(shopper.paid) > before)
        finally:
            shopper.stopping.set()
            thread.join()
        assert shopper.paid
        eventually(lambda: self.delivered())
        eventually(lambda: self.licences() >= len(shopper.paid))

    def licences(self) -> int:
        return len(
            self.released.town.admin.get("licenses?page[size]=100&page[number]=1").json()["data"]
        )

    def deliveries(self) -> Any:
        """All of them, as the sandbox tells."""
        reply = httpx.get(f"{self.released.town.stripe.url}/_sim/deliveries", trust_env=False)
        return reply.json()["deliveries"]

    def kept_events(self) -> list[str]:
        """Ids of Stripe's events in the ledger."""
        with closing(sqlite3.connect(self.folder / "ledger.sqlite")) as ledger:
            return [row[0] for row in ledger.execute("SELECT id FROM events WHERE id LIKE 'evt_%'")]

    def delivered(self) -> bool:
        """Whether everything was; no delivery was ever refused by a store that ran."""
        rows = self.deliveries()
        assert not [one for one in rows if one["last_status"] not in (None, 200, 202, 204)], rows
        return all(one["state"] == "delivered" for one in rows)


@contextmanager
def open_rotating(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Rotating]:
    """In place and answering; what is not delivered is tried again at once."""
    with open_released_store(folder, monkeypatch) as released:
        restart = folder / "restart.sh"
        # As a service manager does: what is being answered is answered to its end.
        restart.write_text(restart.read_text().replace("kill -9", "kill"))
        httpx.post(
            f"{released.town.stripe.url}/_sim/deliveries",
            json={"retry_seconds": [0.2] * 200},
            trust_env=False,
        ).raise_for_status()
        given = ("--version", "1.0", "--env", str(released.env), "--activate", *PATIENCE)
        done = released.town.run(capsys, "release", "record", *given)
        assert done.code == 0, done.err
        yield Rotating(released, capsys)
