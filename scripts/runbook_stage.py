"""Stripe, Keygen, a mailbox and the store as real processes, for somebody to mend."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from runbook_blocks import Block, Command

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_SECONDS = 90.0
_COMMAND_SECONDS = 180.0
# Ends the store as a service manager does, and begins one on the configuration in place.
_RESTART = """\
if [ -s store.pid ] && kill "$(cat store.pid)" 2>/dev/null; then
  for _ in $(seq 300); do
    ps -o stat= -p "$(cat store.pid)" | grep -q '^[^Z]' || break
    sleep 0.05
  done
fi
. ./current.env
setsid {command} >>store.log 2>&1 </dev/null &
echo $! >store.pid
"""
Found = TypeVar("Found")


class RehearsalError(Exception):
    """What a runbook promises did not come about."""


def until(look: Callable[[], Found | None], what: str, seconds: float = PATIENCE_SECONDS) -> Found:
    """What ``look`` finds at last. Raises RehearsalError."""
    end = time.monotonic() + seconds
    while True:
        with suppress(httpx.HTTPError):
            found = look()
            if found:
                return found
        if time.monotonic() > end:
            raise RehearsalError(f"in {seconds:.0f} s it did not come about that {what}")
        time.sleep(0.1)


@dataclass
class Stage:
    """``folder`` has the profile and what the store is started with."""

    folder: Path
    environment: dict[str, str]
    store: str
    stripe: str
    keygen: str
    mail: str
    web: httpx.Client = field(repr=False)
    paid: list[str] = field(default_factory=list)
    # What every command of the operator's begins with.
    prefix: str = ""
    mounted: list[Path] = field(default_factory=list)
    # Whose mail may have gone out twice: the ledger that knew of it was lost.
    forgotten: set[str] = field(default_factory=set)

    def shell(self, text: str) -> subprocess.CompletedProcess[str]:
        """As whoever is called: these tools on the PATH, and the store's environment."""
        given = text.replace("--profile live", "--profile sandbox")
        given = given.replace("SHIMMY_OPS_LIVE_", "SHIMMY_OPS_SANDBOX_")
        script = f"[ ! -e current.env ] || . ./current.env\n{self.prefix}\n{given}\n"
        return subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=self.environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=_COMMAND_SECONDS, check=False,
        )  # fmt: skip

    def do(self, text: str) -> str:
        """A command of the rehearsal's own that has to succeed."""
        done = self.shell(text)
        if done.returncode:
            raise RehearsalError(f"$ {text}\n{done.stdout}= {done.returncode}")
        return done.stdout

    def follow(self, block: Block, *, patiently: bool) -> None:
        """Every command, and what it must show; looking may take a while until it is seen."""
        for command in block.commands:
            print(f"  $ {command.text}", flush=True)
            end = time.monotonic() + (PATIENCE_SECONDS if patiently else 0)
            while (problem := self._wrong(command)) is not None:
                if time.monotonic() > end:
                    raise RehearsalError(f"{block.step}: {problem}")
                time.sleep(0.3)

    def _wrong(self, command: Command) -> str | None:
        done = self.shell(command.text)
        missing = [one for one in command.says if one not in done.stdout]
        if done.returncode == command.ends and not missing:
            return None
        wanted = "".join(f", {one!r}" for one in missing)
        said = f"$ {command.text}\n{done.stdout}= {done.returncode}"
        return f"{said} (wanted: {command.ends}{wanted})"

    def restart(self) -> None:
        """As the profile's restart_command does."""
        self.do("bash restart.sh")
        until(lambda: self.web.get(f"{self.store}/alive").is_success, "the store answers")

    def pid(self) -> int:
        """Of the store."""
        return int((self.folder / "store.pid").read_text())

    def unmount(self) -> None:
        """Nothing is left on file systems of ours."""
        while self.mounted:
            subprocess.run(["umount", "-l", str(self.mounted.pop())], check=False)

    def end_store(self) -> None:
        """As a crash does."""
        with suppress(ProcessLookupError):
            os.kill(self.pid(), signal.SIGKILL)

    def fault(self, server: str, order: Mapping[str, Any]) -> None:
        """Something goes wrong there until ``heal``."""
        self.web.post(f"{server}/_sim/faults", json=dict(order)).raise_for_status()

    def heal(self, server: str) -> None:
        """Nothing goes wrong there any more."""
        self.web.delete(f"{server}/_sim/faults").raise_for_status()

    def buy(self, email: str) -> str:
        """Paid at Stripe's page, and the window closed: the store hears of it by webhook only."""
        return self.pay(self.open_page(), email)

    def open_page(self) -> str:
        """Where Stripe waits for the money."""
        opened = self.web.get(f"{self.store}/buy", params={"plan": "developer"})
        page: str = opened.headers.get("location", "")
        if not page:
            raise RehearsalError(f"the store leads to no page to pay on: {opened.status_code}")
        self.web.cookies.clear()
        return page

    def pay(self, page: str, email: str) -> str:
        """The second half of ``buy``."""
        pay = ["shimmy-sandbox", "stripe", "pay", page, "--email", email]
        self.do(shlex.join(pay))
        self.paid.append(email)
        return email

    def licences(self) -> list[dict[str, Any]]:
        """All that Keygen has."""
        token = self.environment["SHIMMY_OPS_SANDBOX_KEYGEN_TOKEN"]
        reply = self.web.get(
            f"{self.keygen}/v1/accounts/shimmy-sandbox/licenses",
            params={"page[size]": "100", "page[number]": "1"},
            headers={"Authorization": f"Bearer {token}"},
        )
        reply.raise_for_status()
        listed: list[dict[str, Any]] = reply.json()["data"]
        return listed

    def letters(self, email: str) -> list[dict[str, Any]]:
        """Mails with a licence to this address."""
        reply = self.web.get(f"{self.mail}/_sim/messages", params={"to": email})
        return [one for one in reply.json() if "shimmy license activate" in (one["text"] or "")]

    def all_well(self) -> None:
        """Everybody who paid has exactly one usable licence and one mail with it; nobody else."""
        until(lambda: all(self.letters(one) for one in self.paid), "all mails are there")
        until(lambda: len(self.licences()) >= len(self.paid), "all licences are there")
        owners = [one["attributes"]["metadata"].get("customer") for one in self.licences()]
        states = {one["attributes"]["status"] for one in self.licences()}
        if len(set(owners)) != len(owners) or len(owners) != len(self.paid):
            raise RehearsalError(f"{len(self.paid)} paid, and there are licences of {owners}")
        if states - {"ACTIVE", "INACTIVE"}:
            raise RehearsalError(f"licences are {states}")
        most = {one: 2 if one in self.forgotten else 1 for one in self.paid}
        several = [one for one, count in most.items() if len(self.letters(one)) > count]
        if several:
            raise RehearsalError(f"the same mail again: {several}")
        until(lambda: self.web.get(f"{self.store}/health").is_success, "the store is well")


@contextmanager
def open_stage() -> Iterator[Stage]:
    """Provisioned, released once, selling. Nothing of it is left afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="runbook-", ignore_cleanup_errors=True) as name,
        socket.socket() as kept,
    ):
        folder, store = Path(name), f"http://127.0.0.1:{_keep_port(kept)}"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SHIMMY_")}
        environment |= {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "STORE": store,
        }
        town = _begin_town(folder, store, environment)
        try:
            with httpx.Client(trust_env=False, timeout=60, headers={"Accept": "text/html"}) as web:
                stage = _set_up(folder, store, environment, web)
                try:
                    yield stage
                finally:
                    stage.end_store()
                    stage.unmount()
        finally:
            town.terminate()
            town.wait()


def _begin_town(
    folder: Path, store: str, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    town = folder / "town"
    command = ["shimmy-sandbox", "town", "serve", "--state", str(town), "--ports", "auto"]
    command += ["--plans", str(ROOT / "contracts" / "plans.json"), "--unstocked"]
    with (folder / "town.out").open("wb") as said, (folder / "town.log").open("wb") as log:
        return subprocess.Popen(
            [*command, "--store-url", store], env=environment, stdin=subprocess.DEVNULL,
            stdout=said, stderr=log,
        )  # fmt: skip


def _set_up(folder: Path, store: str, environment: dict[str, str], web: httpx.Client) -> Stage:
    until(lambda: "ready" in (folder / "town.out").read_text(), "the town is ready")
    told = dict(re.findall(r"^(\w+) (http.*)$", (folder / "town.out").read_text(), re.MULTILINE))
    stage = Stage(
        folder, environment, store, told["stripe"], told["keygen"], told["mail"], web
    )  # fmt: skip
    lines = (folder / "town" / "operator.env").read_text()
    given = {}
    for line in lines.splitlines():
        variable, _, value = line.removeprefix("export ").partition("=")
        given[variable] = shlex.split(value)[0]
    environment |= {k: v for k, v in given.items() if k.startswith("SHIMMY_OPS_")}
    _write_profile(stage, folder)
    stage.do("shimmy-ops provision --profile live --apply --yes --write-env store.env")
    _finish_env(folder, given)
    stage.do("shimmy-ops release record --profile live --version 1.0 --env store.env --activate")
    return stage


def _write_profile(stage: Stage, folder: Path) -> None:
    profile = (folder / "town" / "shimmy-ops.toml").read_text()
    profile += 'config_current = "current.env"\nrestart_command = ["bash", "restart.sh"]\n'
    (folder / "shimmy-ops.toml").write_text(profile)
    serve = shlex.join(["shimmy-store", "serve", "--port", stage.store.rpartition(":")[2]])
    (folder / "restart.sh").write_text(_RESTART.format(command=serve))


def _finish_env(folder: Path, given: Mapping[str, str]) -> None:
    """What provisioning cannot know; secrets by reference, as a release wants them."""
    for name in ("STRIPE_KEY", "MAIL"):
        path = folder / f"store-{name.lower()}"
        path.touch(mode=0o600)
        path.write_text(given[f"SHIMMY_STORE_{name}"])
        with (folder / "store.env").open("a") as env:
            env.write(f"export SHIMMY_STORE_{name}_FILE={shlex.quote(str(path))}\n")
    with (folder / "store.env").open("a") as env:
        env.write(f"export SHIMMY_STORE_LEDGER=sqlite:///{folder / 'ledger.sqlite'}\n")


def _keep_port(kept: socket.socket) -> int:
    """One that nobody else is given; the store may listen there, and may do so again."""
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", 0))
    return int(kept.getsockname()[1])
