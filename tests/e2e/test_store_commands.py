"""The store as its operator starts it: processes, a purchase, a mail, a clean end."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
PATIENCE = 60


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


@dataclass
class Street:
    """A town and a store that run."""

    env: dict[str, str]
    mailbox: str
    store_log: Path

    @property
    def url(self) -> str:
        return self.env["SHIMMY_STORE_URL"]


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    folder = tmp_path_factory.mktemp("street")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
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


def test_a_plan_is_bought_and_its_key_mailed(street: Street) -> None:
    email = "grace@example.com"
    bought = run(
        street.env, "shimmy-sandbox", "buy", "startup", "--store", street.url, "--email", email
    )
    assert bought.returncode == 0, bought.stderr
    assert "the store shows the licence" in bought.stdout
    read = run(
        street.env,
        *("shimmy-sandbox", "mail", "read", "--url", street.mailbox),
        *("--to", email, "--match", "licence", "--wait", "30"),
    )
    assert re.search(r"shimmy license activate \S+-V3", read.stdout)
    assert run(street.env, "shimmy-store", "sweep").returncode == 0
    reconciled = run(street.env, "shimmy-store", "reconcile", "--all")
    assert (reconciled.returncode, reconciled.stdout) == (0, "customers 1: settled 1\n")
    assert run(street.env, "shimmy-store", "alarms").stdout == ""
    assert httpx.get(f"{street.url}/health", trust_env=False).json()["status"] == "ok"


def test_the_log_tells_nothing_of_the_customer(street: Street) -> None:
    run(street.env, "shimmy-sandbox", "buy", "developer", "--store", street.url)
    told = street.store_log.read_text()
    assert '"endpoint": "success"' in told
    for secret in ("@example.com", "cs_test", "cus_", "token=", "-V3", "/view-license", "whsec"):
        assert secret not in told, secret


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("buy", "free"), "the store says 404"),
        (("buy", "developer", "--card", "4000000000000002"), "the page to pay on says 402"),
        (("buy", "developer", "--store", "http://127.0.0.1:9"), "does not answer"),
    ],
)
def test_a_purchase_that_fails_says_where(
    street: Street, words: tuple[str, ...], said: str
) -> None:
    where = () if "--store" in words else ("--store", street.url)
    failed = run(street.env, "shimmy-sandbox", *words, *where)
    assert failed.returncode == 1
    assert said in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_store_that_is_not_set_up_lists_what_is_missing(street: Street) -> None:
    env = {name: value for name, value in street.env.items() if "STORE" not in name}
    failed = run(env, "shimmy-store", "serve")
    assert failed.returncode == 2
    for name in ("MODE", "URL", "STRIPE_KEY", "WEBHOOK_SECRETS", "KEYGEN_TOKEN", "LEDGER"):
        assert f"SHIMMY_STORE_{name} " in failed.stderr
    assert "docs/store.md" in failed.stderr


def test_a_port_in_use_is_said_in_words(street: Street) -> None:
    port = street.url.rpartition(":")[2]
    failed = run(street.env, "shimmy-store", "serve", "--port", port)
    assert failed.returncode == 2
    assert "cannot listen" in failed.stderr
    assert "Traceback" not in failed.stderr
