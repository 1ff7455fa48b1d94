"""Real local D1 for tests: ``wrangler dev`` with a worker that passes batches on."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from kept_ports import free_port

from shimmy_store.adapters.d1_database import D1Database, D1Failure
from shimmy_store.ports.database import Database, Statement
from shimmy_store.settings import Settings
from shimmy_store.wiring import shop

_ROOT = Path(__file__).resolve().parents[4]
MIGRATIONS = _ROOT / "packages" / "store" / "cloudflare" / "migrations"
_BRIDGE = Path(__file__).parent / "d1_bridge" / "worker.js"
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
WRANGLER = ".bin/wrangler"
_DATABASES = 24
_START_SECONDS = 60
# It asks nobody about itself, and is asked nothing.
# It ends, and its children with it, when whoever holds its standard input is gone.
_HELD = '"$@" < /dev/null & cat > /dev/null; kill -TERM 0'
QUIET = {"CI": "1", "WRANGLER_SEND_METRICS": "false", "FORCE_COLOR": "0"}


def find_npm() -> Path | None:
    """The folder with wrangler and Pyodide, installed by now if npm can."""
    script = _ROOT / "scripts" / "worker_npm.sh"
    found = subprocess.run(["bash", script], capture_output=True, text=True, check=False)
    return Path(found.stdout.strip()) / "node_modules" if found.returncode == 0 else None


class D1OverHttp:
    """See ``d1_database.D1Wire``: to the bridge."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = httpx.AsyncClient(trust_env=False, verify=_NO_TLS, timeout=30)

    async def close(self) -> None:
        await self._client.aclose()

    async def __call__(self, batch: str) -> str:
        try:
            answer = await self._client.post(self._url, content=batch.encode())
        except httpx.HTTPError as error:
            raise D1Failure(f"Network connection lost ({type(error).__name__})") from error
        if answer.status_code != 200:
            raise D1Failure(answer.text)
        return answer.text


class D1Server:
    """Databases, each empty when it is handed out; ``npm`` is the folder that it runs from."""

    def __init__(self, url: str, folder: Path, npm: Path) -> None:
        self.url, self.folder, self.npm = url, folder, npm
        self._names = itertools.cycle([f"DB{number}" for number in range(_DATABASES)])
        self._used: set[str] = set()

    def create_database(self) -> str:
        """The address of an empty one."""
        name = next(self._names)
        address = f"{self.url}/{name}"
        if name in self._used:
            _drop_tables(address)
        self._used.add(name)
        return address


class BridgedD1(D1Database):
    """The adapter, over the bridge."""

    def __init__(self, address: str) -> None:
        self._bridge = D1OverHttp(address)
        super().__init__(self._bridge)

    async def close(self) -> None:
        await super().close()
        await self._bridge.close()


@contextmanager
def stores_on_d1(server: D1Server) -> Iterator[None]:
    """Every ledger that is opened meanwhile as a file lies there, and its town looks there."""
    # Here, since whoever only needs D1 need not have the sandbox.
    import town

    addresses: dict[str, str] = {}

    def connect(path: str) -> Database:
        if path not in addresses:
            addresses[path] = server.create_database()
        return BridgedD1(addresses[path])

    async def open_database(settings: Settings) -> Database:
        return connect(settings.ledger.removeprefix("sqlite:///"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shop, "_open_database", open_database)
        patch.setattr(town, "LEDGERS", connect)
        yield


def ask(address: str, *statements: Statement) -> list[list[dict[str, object]]]:
    """One batch, without the adapter."""
    told = json.dumps(statements)
    answer = httpx.post(address, content=told, trust_env=False, verify=_NO_TLS, timeout=30)
    assert answer.status_code == 200, answer.text
    return list(answer.json())


def _drop_tables(address: str) -> None:
    tables = (
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '!_cf%' ESCAPE '!'"
    )
    (rows,) = ask(address, Statement(f"{tables} AND name NOT LIKE 'sqlite%'"))
    if rows:
        ask(address, *(Statement(f"DROP TABLE {row['name']}") for row in rows))


def write_config(folder: Path) -> Path:
    """The bridge beside its configuration; wrangler looks for everything there."""
    shutil.copy(_BRIDGE, folder / "worker.js")
    databases = [
        {
            "binding": f"DB{number}",
            "database_name": f"DB{number}",
            "database_id": f"local-{number}",
            "migrations_dir": str(MIGRATIONS),
        }
        for number in range(_DATABASES)
    ]
    config = {
        "name": "d1-bridge",
        "main": "worker.js",
        "compatibility_date": "2026-03-31",
        "send_metrics": False,
        "d1_databases": databases,
    }
    path = folder / "wrangler.json"
    path.write_text(json.dumps(config))
    return path


@contextmanager
def running_d1(npm: Path, folder: Path) -> Iterator[D1Server]:
    """One for all tests of a process."""
    config = write_config(folder)
    port = free_port()
    command = [str(npm / WRANGLER), "dev", "--local", f"--config={config}", "--ip=127.0.0.1"]
    command += [f"--port={port}", "--inspector-port=0", f"--persist-to={folder / 'state'}"]
    command += ["--show-interactive-dev-session=false"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["sh", "-c", _HELD, "sh", *command],
            cwd=folder,
            env={**os.environ, **QUIET},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        server = D1Server(f"http://127.0.0.1:{port}", folder, npm)
        _wait(server, process)
        yield server
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def _wait(server: D1Server, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        late = time.monotonic() > end or process.poll() is not None
        assert not late, (server.folder / "log").read_text()
        try:
            ask(f"{server.url}/DB0", Statement("SELECT 1"))
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
