"""A town and a store as their operators start them: real processes on loopback."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import httpx
from kept_ports import free_port

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
PATIENCE = 60
Found = TypeVar("Found")


@contextmanager
def program(folder: Path, name: str, env: Mapping[str, str], *words: str) -> Iterator[Path]:
    """A program until the block ends; what it says is in ``folder/name``."""
    told = folder / name
    with told.open("w") as file:
        running = subprocess.Popen([BIN / words[0], *words[1:]], stdout=file, stderr=file, env=env)
        try:
            yield told
        finally:
            running.send_signal(signal.SIGTERM)
            ended = running.wait(PATIENCE)
    assert ended == 0, told.read_text()


def wait_for(told: Path, words: str) -> None:
    end = time.monotonic() + PATIENCE
    while words not in told.read_text():
        assert time.monotonic() < end, told.read_text()
        time.sleep(0.05)


def run(env: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / words[0], *words[1:]], env=env, capture_output=True, text=True, timeout=PATIENCE
    )


def eventually(look: Callable[[], Found | None], seconds: float = 60) -> Found:
    """What ``look`` finds at last."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)
    return found


@dataclass
class Street:
    """A town and a store that run; what the town's servers know is asked for over HTTP."""

    env: dict[str, str]
    mailbox: str
    store_log: Path

    @property
    def url(self) -> str:
        return self.env["SHIMMY_STORE_URL"]

    def stripe(self, path: str, order: Mapping[str, str] | None = None, **query: Any) -> Any:
        """An object of Stripe's, or a list's objects; ``order`` is posted."""
        answer = httpx.request(
            "GET" if order is None else "POST",
            f"{self.env['SHIMMY_STORE_STRIPE_URL']}/v1/{path}",
            params=query,
            data=order,
            headers={"Authorization": f"Bearer {self.env['SHIMMY_STORE_STRIPE_KEY']}"},
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        read = answer.json()
        return read["data"] if read["object"] == "list" else read

    def keygen(self, path: str) -> Any:
        """What the licence server's operator sees."""
        account = self.env["SHIMMY_STORE_KEYGEN_ACCOUNT"]
        answer = httpx.get(
            f"{self.env['SHIMMY_STORE_KEYGEN_URL']}/v1/accounts/{account}/{path}",
            headers={"Authorization": f"Bearer {self.env['SHIMMY_STORE_KEYGEN_TOKEN']}"},
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def steer(self, server: str, path: str, order: Any) -> Any:
        """Turn a control of ``server`` (STRIPE, KEYGEN); None takes back what was ordered."""
        url = f"{self.env[f'SHIMMY_STORE_{server}_URL']}/_sim/{path}"
        if order is None:
            return httpx.delete(url, trust_env=False).json()
        # Waiting for it to be idle takes as long as is ordered.
        answer = httpx.post(url, json=order, trust_env=False, timeout=90)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def mails(self, to: str) -> list[dict[str, Any]]:
        """What lies in somebody's mailbox, oldest first."""
        found = httpx.get(f"{self.mailbox}/_sim/messages", params={"to": to}, trust_env=False)
        read: list[dict[str, Any]] = found.json()
        return read

    def mail(self, to: str, words: str) -> str:
        """The text of the newest mail with these words in it, once it is there."""

        def look() -> str | None:
            return next((one["text"] for one in self.mails(to)[::-1] if words in one["text"]), None)

        return eventually(look)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def open_site(folder: Path, store: str) -> Iterator[str]:
    """The static site, built for this store and served on loopback; its address."""
    out = folder / "site"
    built = run(
        dict(os.environ),
        *("shimmy-store", "site", "build", "--mode", "test", "--store-url", store),
        *("--out", str(out)),
    )
    assert built.returncode == 0, built.stderr
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(out))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def open_street(folder: Path) -> Iterator[Street]:
    """Both, until the block ends."""
    port = free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith("SHIMMY_")}
    with ExitStack() as stack:
        plans, store = str(ROOT / "contracts/plans.json"), f"http://127.0.0.1:{port}"
        serve = ("town", "serve", "--state", str(folder / "town"), "--plans", plans)
        options = ("--ports", "auto", "--store-url", store)
        town = stack.enter_context(
            program(folder, "town.out", env, "shimmy-sandbox", *serve, *options)
        )
        wait_for(town, "ready")
        lines = (folder / "town/store.env").read_text().splitlines()
        env |= dict(re.findall(r"^export (\w+)=(.*)$", "\n".join(lines), re.M))
        env = {name: value.strip("'") for name, value in env.items()}
        mailbox = re.search(r"^mail (\S+)$", town.read_text(), re.M)
        assert mailbox
        log = stack.enter_context(
            program(folder, "store.out", env, "shimmy-store", "serve", "--port", str(port))
        )
        wait_for(log, "Application startup complete")
        yield Street(env, mailbox[1], log)
