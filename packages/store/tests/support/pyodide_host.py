"""The store as a Worker on Pyodide in Node: the bundle as it is deployed, answering on loopback."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from d1_server import BridgedD1
from kept_ports import free_port
from operating import OPERATOR_TOKEN
from store_server import SECRET, Store, portal_of_town
from town import HANDLED, NO_TLS, Town, open_town

from shimmy_sandbox.mailbox.server import serve_mailbox
from shimmy_sandbox.simulation.clock import SimulatedClock
from shimmy_store.settings import read_settings

ROOT = Path(__file__).resolve().parents[4]
SUPPORT = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Pyodide:
    """``home`` is the npm package, ``bundle`` what is deployed, ``wheels`` what tests need."""

    home: Path
    bundle: Path
    wheels: Path


def prepare_pyodide(folder: Path) -> Pyodide:
    """Raises FileNotFoundError that says why where it cannot be had."""
    npm = subprocess.run(
        ["bash", "scripts/worker_npm.sh"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if npm.returncode:
        raise FileNotFoundError(npm.stderr.strip().splitlines()[-1])
    _script("--bundle", str(folder))
    home = Path(npm.stdout.strip()) / "node_modules" / "pyodide"
    return Pyodide(home, folder, Path(_script("--test-wheels")))


def _script(*words: str) -> str:
    done = subprocess.run(
        ["bash", "scripts/worker.sh", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def run_tests(pyodide: Pyodide, tests: list[str]) -> subprocess.CompletedProcess[str]:
    """The store's own tests, on Pyodide."""
    order = {
        "pyodide": str(pyodide.home),
        "wheels": [str(pyodide.wheels), str(pyodide.bundle / "python_modules")],
        "root": str(ROOT),
        "tests": tests,
    }
    return subprocess.run(
        ["node", str(SUPPORT / "pyodide_tests.mjs"), json.dumps(order)],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )


@dataclass
class PyodideHost:
    """A Worker that answers at ``url``."""

    url: str
    words: list[str]
    log: Path
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Again, where it was killed: on the ledger that it left."""
        pipe = subprocess.PIPE
        with self.log.open("a") as errors:
            self.process = subprocess.Popen(
                self.words, stdin=pipe, stdout=pipe, stderr=errors, text=True
            )
        assert self.process.stdout is not None
        assert self.process.stdout.readline(), self.log.read_text()

    def kill(self) -> None:
        """As a power cut does."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()

    def tick(self, cron: str) -> None:
        """The clock of the runtime."""
        self._control(f"tick?cron={cron}")

    def move_clock(self, moment: datetime) -> None:
        """It is this moment there, and whatever is due then is begun."""
        self._control(f"clock?now={_milliseconds(moment)}")

    def idle(self) -> float:
        """Wait for what goes on after answers; the CPU seconds that all of it took so far."""
        return float(self._control("idle")["cpu_seconds"])

    def _control(self, what: str) -> Any:
        answer = httpx.post(
            f"{self.url}/__host/{what}", trust_env=False, verify=NO_TLS, timeout=120
        )
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def running_host(
    pyodide: Pyodide,
    port: int,
    variables: Mapping[str, str],
    ledger: Path,
    log: Path,
    now: datetime | None = None,
) -> Iterator[PyodideHost]:
    """A Worker with these variables; its ledger is made on first use and kept in ``ledger``.

    From a ``now`` on its time stands still until it is moved, and the clock of the runtime ticks
    every second.
    """
    ledger.mkdir(exist_ok=True)
    order = {
        "pyodide": str(pyodide.home),
        "bundle": str(pyodide.bundle),
        "ledger": str(ledger),
        "migrations": _migrations(pyodide.bundle),
        "vars": dict(variables),
        "port": port,
        "now": _milliseconds(now) if now else None,
    }
    words = ["node", str(SUPPORT / "pyodide_host.mjs"), json.dumps(order)]
    host = PyodideHost(f"http://127.0.0.1:{port}", words, log)
    host.start()
    try:
        yield host
    finally:
        host.kill()


def _milliseconds(moment: datetime) -> float:
    return moment.timestamp() * 1000


def _migrations(bundle: Path) -> str:
    """As wrangler applies them: one after the other."""
    return "\n".join(one.read_text() for one in sorted((bundle / "migrations").glob("*.sql")))


@contextmanager
def open_worker(
    pyodide: Pyodide, folder: Path, *, moved: bool = False
) -> Iterator[tuple[Store, PyodideHost]]:
    """A store that Stripe delivers to, as a Worker, by real clocks; ``moved``: by the town's."""
    with ExitStack() as stack:
        town = stack.enter_context(open_town(folder / "none.sqlite"))
        clock = town.payments.controls.clock
        if moved:
            town.control("deliveries", {"timestamps": "simulated"})
        else:
            clock.reset()
        mailbox = stack.enter_context(serve_mailbox())
        town.sdk.v1.billing_portal.configurations.create(portal_of_town(town))
        # Stripe has to know where it will be before it is told the endpoint's secret.
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        endpoint = town.sdk.v1.webhook_endpoints.create(
            {"url": f"{url}/stripe-webhook", "enabled_events": sorted(HANDLED)}
        )
        mail = f"resend+http://{mailbox.api_key}@{mailbox.url.removeprefix('http://')}"
        variables = {**_variables(town, url, endpoint.secret), "SHIMMY_STORE_MAIL": mail}
        files = folder / "d1", folder / "worker.log"
        now = clock.now() if moved else None
        host = stack.enter_context(running_host(pyodide, port, variables, *files, now))
        # The Worker's own ledger, for whoever asks what lies there.
        town.connect = lambda: BridgedD1(f"{url}/__host/d1")
        if moved:
            _follow(clock, host)
        settings = read_settings(variables, "worker")
        yield Store(url, town, mailbox, settings, stack), host


def _follow(clock: SimulatedClock, host: PyodideHost) -> None:
    """Whenever that clock is moved, so is the host's."""
    advance = clock.advance

    def advance_both(step: timedelta) -> None:
        advance(step)
        host.move_clock(clock.now())

    # One clock of one test: it is gone with its town.
    clock.advance = advance_both  # type: ignore[method-assign]


def _variables(town: Town, url: str, webhook_secret: str) -> dict[str, str]:
    told = {
        "MODE": "test",
        "URL": url,
        "STRIPE_KEY": town.payments.api_key,
        "WEBHOOK_SECRETS": webhook_secret,
        "KEYGEN_ACCOUNT": town.keygen.account,
        "KEYGEN_TOKEN": town.keygen.admin_token,
        "KEYGEN_POLICIES": ",".join(f"{plan}={one}" for plan, one in town.policies.items()),
        "KEYGEN_PUBLIC_KEY": town.keygen.public_key,
        "MAIL_FROM": "Shimmy Vision <licences@shimmy.example>",
        "LEDGER": "d1://DB",
        "SECRET": SECRET.replace(",", "-"),
        "STRIPE_URL": town.payments.url,
        "KEYGEN_URL": town.keygen.url,
        "OPERATOR_TOKEN": OPERATOR_TOKEN,
    }
    return {f"SHIMMY_STORE_{name}": value for name, value in told.items()}
