"""The store as a process of its own that a release restarts, and the site behind a link."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from kept_ports import free_port
from provisioning_town import ProvisioningTown, open_provisioning_town

from shimmy_ops.adapters.releases.loopback_site import serve_link
from shimmy_ops.use_cases.find_state import find_state
from shimmy_ops.use_cases.write_store_env import write_store_env
from shimmy_ops.wiring.accounts import environment_file, fresh_secret, open_accounts
from shimmy_sandbox.mailbox.server import serve_mailbox

# Ends the store that runs (which may happen at any moment, and is quicker so), begins one on the
# configuration in place, and does not wait for it.
_RESTART = """\
if [ -s store.pid ]; then
  kill -9 "$(cat store.pid)"
  while ps -o stat= -p "$(cat store.pid)" | grep -q '^[^Z]'; do sleep 0.02; done
fi
. ./current.env
{command} >>store.log 2>&1 &
echo $! >store.pid
"""


@dataclass
class ReleasedStore:
    """``env`` is a good configuration; everything lies in the town's folder."""

    town: ProvisioningTown
    url: str
    site_url: str
    env: Path

    @property
    def folder(self) -> Path:
        return self.town.folder

    def site(self, words: str) -> Path:
        """A built site whose first page says these words."""
        folder = self.folder / f"site {words}"
        (folder / "assets").mkdir(parents=True, exist_ok=True)
        (folder / "index.html").write_text(f"<!doctype html><title>{words}</title>\n")
        (folder / "assets" / "look.css").write_text("body { color: black }\n")
        return folder

    def changed_env(self, **changes: str) -> Path:
        """The good configuration with some variables otherwise."""
        path = self.folder / "changed.env"
        lines = [
            line
            for line in self.env.read_text().splitlines()
            if not any(line.startswith(f"export SHIMMY_STORE_{name}=") for name in changes)
        ]
        lines += [f"export SHIMMY_STORE_{n}={shlex.quote(v)}" for n, v in changes.items()]
        path.write_text("\n".join(lines) + "\n")
        return path

    def healthy(self) -> bool:
        """As a customer sees it."""
        try:
            return httpx.get(f"{self.url}/health", trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def served(self) -> str:
        """The site's first page."""
        return httpx.get(self.site_url, trust_env=False).text

    def pid(self) -> int:
        return int((self.folder / "store.pid").read_text())


@contextmanager
def open_released_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReleasedStore]:
    """Provisioned; nothing runs before the first release."""
    with ExitStack() as stack:
        town = stack.enter_context(open_provisioning_town(folder, monkeypatch))
        mailbox = stack.enter_context(serve_mailbox())
        port = free_port()
        url, site = f"http://127.0.0.1:{port}", stack.enter_context(serve_link(folder / "current"))
        town.write_config(
            store_url=url, site_url=site, site_current="current", config_current="current.env"
        )
        with town.config.open("a") as config:
            config.write('restart_command = ["bash", "restart.sh"]\n')
        program = Path(sys.executable).with_name("shimmy-store")
        serve = [str(program), "serve", "--port", str(port)]
        (folder / "restart.sh").write_text(_RESTART.format(command=shlex.join(serve)))
        env = folder / "store.env"
        _write_env(town, url, env, mailbox.smtp_url)
        stack.callback(_stop, folder / "store.pid")
        yield ReleasedStore(town, url, site, env)


def _write_env(town: ProvisioningTown, url: str, env: Path, mail: str) -> None:
    desired = town.desired(store_url=url)
    town.apply(desired)
    with open_accounts(desired.profile, town.folder, retries=0) as accounts:
        found = find_state(desired, accounts.billing, accounts.licensing, accounts.safe)
        write_store_env(desired, found, accounts.safe, environment_file(env), fresh_secret)
    key = town.folder / "stripe-key"
    key.touch(mode=0o600)
    key.write_text(town.stripe.api_key)
    with env.open("a") as file:
        file.write(
            f"export SHIMMY_STORE_STRIPE_KEY_FILE={shlex.quote(str(key))}\n"
            f"export SHIMMY_STORE_MAIL={mail}\n"
            f"export SHIMMY_STORE_LEDGER=sqlite:///{town.folder / 'ledger.sqlite'}\n"
        )


def _stop(file: Path) -> None:
    if not file.exists():
        return
    with suppress(ProcessLookupError):
        os.kill(int(file.read_text()), signal.SIGKILL)
