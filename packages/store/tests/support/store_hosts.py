"""Several hosts of one store, as real processes behind a balancer, with Stripe and mail beside."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from kept_ports import free_port
from store_server import Store, eventually
from town import HANDLED, NO_TLS, open_town

from shimmy_sandbox.mailbox.server import serve_mailbox
from shimmy_store.settings import Settings

PROGRAM = Path(sys.executable).with_name("shimmy-store")
_START_SECONDS = 60
_SECRET = "-".join(["of-this-test-and-long-enough"] * 2)


class Balancer:
    """The next connection goes to the next host; to another one where nobody listens."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = int(self._listener.getsockname()[1])
        self.ports: list[int] = []
        self._taken = 0
        self._unanswered = Counter[int]()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """No more connections; those that are there end with their hosts."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def unanswered(self, port: int) -> int:
        """Connections that were led there and have not heard anything from there yet."""
        with self._lock:
            return self._unanswered[port]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        port, host = self._connect()
        if host is None:
            client.close()
            return
        back = threading.Thread(target=self._answer, args=(port, host, client), daemon=True)
        back.start()
        _pass_on(client, host)
        back.join()
        client.close()
        host.close()

    def _answer(self, port: int, host: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            host.recv(1, socket.MSG_PEEK)
        self._was_answered(port)
        _pass_on(host, client)

    def _was_answered(self, port: int) -> None:
        with self._lock:
            self._unanswered[port] -= 1

    def _connect(self) -> tuple[int, socket.socket | None]:
        for _ in range(4):
            with self._lock:
                self._taken += 1
                ports = list(self.ports)
                port = ports[self._taken % len(ports)] if ports else 0
                self._unanswered[port] += 1
            if ports:
                with suppress(OSError):
                    return port, socket.create_connection(("127.0.0.1", port), timeout=30)
            self._was_answered(port)
        return 0, None


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while read := source.recv(65536):
            target.sendall(read)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@dataclass
class Host:
    """``shimmy-store serve --workers 2`` at a port of its own."""

    port: int
    environment: Mapping[str, str]
    folder: Path
    workers: int = 2
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Past the balancer."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it said."""
        return (self.folder / f"{self.port}.log").read_text()

    def start(self) -> None:
        """Begin; see ``wait``."""
        command = [str(PROGRAM), "serve", "--port", str(self.port), "--workers", str(self.workers)]
        with (self.folder / f"{self.port}.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                # What one that is killed leaves behind goes with the tests.
                env={**os.environ, "TMPDIR": str(self.folder), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait(self) -> None:
        """Until it is ready, as an orchestrator asks."""
        assert self.process is not None
        end = time.monotonic() + _START_SECONDS
        while not self.ready():
            assert time.monotonic() < end and self.process.poll() is None, self.log
            time.sleep(0.1)

    def ready(self) -> bool:
        """Whether it wants to be asked."""
        try:
            return self.get("/ready").status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str) -> httpx.Response:
        """On a connection of its own, so that any of the workers may answer."""
        return httpx.get(f"{self.url}{path}", trust_env=False, verify=NO_TLS, timeout=20)

    def pids(self) -> set[int]:
        """Of its workers: the supervisor's children but for Python's own tracker of resources."""
        assert self.process is not None
        found = set()
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                called = (entry / "cmdline").read_bytes()
                if parent == self.process.pid and b"spawn_main" in called:
                    found.add(int(entry.name))
        return found

    def stop(self) -> int:
        """SIGTERM; what it exits with."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def end(self) -> None:
        """At once, whatever happens."""
        if self.process is not None and self.process.poll() is None:
            children = self.pids()
            self.process.kill()
            self.process.wait()
            for pid in children:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@dataclass
class Fleet:
    """The balanced store, and its hosts."""

    store: Store
    balancer: Balancer
    hosts: list[Host]

    def replace(self, host: Host) -> None:
        """As an orchestrator does: no new connections, SIGTERM, and another in its place."""
        self.balancer.ports = [one.port for one in self.hosts if one is not host]
        # Whoever was just let in is answered; Kubernetes waits so with a preStop hook.
        eventually(lambda: not self.balancer.unanswered(host.port))
        assert host.stop() == 0, host.log
        host.start()
        host.wait()
        self.balancer.ports = [one.port for one in self.hosts]


@contextmanager
def open_fleet(folder: Path, ledger: str, hosts: int) -> Iterator[Fleet]:
    """All started at once on an empty ledger; clocks tell the real time."""
    with ExitStack() as stack:
        town = stack.enter_context(open_town(folder / "unused.sqlite"))
        mailbox = stack.enter_context(serve_mailbox())
        town.payments.controls.clock.reset()
        town.control("deliveries", {"retry_seconds": [0.5] * 40})
        balancer = stack.enter_context(closing(Balancer()))
        url = f"http://127.0.0.1:{balancer.port}"
        endpoint = town.sdk.v1.webhook_endpoints.create(
            {"url": f"{url}/stripe-webhook", "enabled_events": sorted(HANDLED)}
        )
        environment = {
            "MODE": "test",
            "URL": url,
            "STRIPE_KEY": town.payments.api_key,
            "STRIPE_URL": town.payments.url,
            "WEBHOOK_SECRETS": endpoint.secret,
            "KEYGEN_ACCOUNT": town.keygen.account,
            "KEYGEN_TOKEN": town.keygen.admin_token,
            "KEYGEN_URL": town.keygen.url,
            "KEYGEN_POLICIES": ",".join(f"{plan}={one}" for plan, one in town.policies.items()),
            "MAIL": mailbox.smtp_url,
            "MAIL_FROM": "Shimmy Vision <licences@shimmy.example>",
            "SECRET": _SECRET,
            "LEDGER": ledger,
        }
        named = {f"SHIMMY_STORE_{name}": value for name, value in environment.items()}
        started = [Host(free_port(), named, folder) for _ in range(hosts)]
        for one in started:
            stack.callback(one.end)
            one.start()
        for one in started:
            one.wait()
        balancer.ports = [one.port for one in started]
        settings = Settings(
            "test",
            url,
            town.payments.api_key,
            (endpoint.secret,),
            town.keygen.account,
            town.keygen.admin_token,
            town.policies,
            mailbox.smtp_url,
            environment["MAIL_FROM"],
            ledger,
            (_SECRET,),
        )
        yield Fleet(Store(url, town, mailbox, settings, stack), balancer, started)
