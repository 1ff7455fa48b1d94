"""A PostgreSQL server of the tests' own, on a socket in a folder that goes with it."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg

PASSWORD = "s3cr3t/with@signs"
_USER = "ledger"
_PROGRAMS = ("initdb", "postgres")
_START_SECONDS = 60
# The server ends with whoever holds its standard input, so that none is left behind by tests that
# were killed. Without ceremony, as in a crash: what is kept must be good all the same.
_HELD = '"$@" & cat > /dev/null; kill -QUIT $!; wait'
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "100",
    "deadlock_timeout": "100ms",
}


def find_programs() -> Path | None:
    """The folder of the newest ``postgres`` and ``initdb`` here; Debian keeps them off the PATH."""
    folders = [Path(one) for one in os.get_exec_path()]
    packaged = Path("/usr/lib/postgresql").glob("*/bin")
    folders += sorted(packaged, key=lambda one: float(one.parent.name), reverse=True)
    return next((one for one in folders if all((one / name).exists() for name in _PROGRAMS)), None)


class PostgresServer:
    """Everything in ``folder``; ``stop`` and ``start`` as often as a test likes."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder = programs, folder
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            self._as = {"user": "postgres", "group": "postgres", "extra_groups": []}
            shutil.chown(folder, "postgres", "postgres")

    def initialise(self) -> None:
        """Make the cluster."""
        password = self._folder / "password"
        password.write_text(PASSWORD)
        done = subprocess.run(
            [
                self._programs / "initdb",
                f"--pgdata={self._folder / 'data'}",
                f"--username={_USER}",
                f"--pwfile={password}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ],
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
            **self._as,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = {**_SETTINGS, "unix_socket_directories": str(self._folder)}
        server = [str(self._programs / "postgres"), "-D", str(self._folder / "data")]
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", _HELD, "sh", *server, *options],
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                **self._as,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            late = time.monotonic() > deadline or self._process.poll() is not None
            assert not late, (self._folder / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """End it at once, whatever it is doing."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()
        self._process = None

    def create_database(self) -> str:
        """The URL of a new database."""
        name = f"ledger_{next(self._numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def url(self, name: str) -> str:
        """The URL of a database."""
        place = urlencode({"host": self._folder})
        return f"postgresql://{_USER}:{quote(PASSWORD, safe='')}@/{name}?{place}"

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=_START_SECONDS).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def running_server(programs: Path) -> Iterator[PostgresServer]:
    """A server, and nothing left of it afterwards."""
    # Not pytest's folder: that is its user's alone, and its path may be too long for a socket.
    with tempfile.TemporaryDirectory(prefix="shimmy-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(programs, Path(folder))
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop()
