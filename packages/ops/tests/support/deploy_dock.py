"""A store that deploys restart, and stand-ins for wrangler and for a container's commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from provisioning_town import Ran
from released_store import ReleasedStore, open_released_store

# Remembers what it was told in cloud.json, and refuses the act that the file `fail` names.
_STAND_IN = """\
import json, os, sys
words = sys.argv[1:]
acts = ["dry", "deploy", "migrations", "list", "put", "build", "push", "run"]
act = "dry" if "--dry-run" in words else next(one for one in acts[1:] if one in words)
cloud = json.load(open("cloud.json")) if os.path.exists("cloud.json") else {
    "calls": [], "secrets": {}, "there": False}
cloud["calls"].append(words)
failing = open("fail").read() if os.path.exists("fail") else ""
if act == "put":
    value = sys.stdin.read()
    print("was given", value)
    if failing != act:
        cloud["secrets"][words[words.index("put") + 1]] = value
if act == "deploy":
    cloud["there"] = cloud["there"] or failing != act
    if "--config" in words:
        os.makedirs(os.path.dirname(words[words.index("--config") + 1]) + "/.wrangler/tmp",
                    exist_ok=True)
json.dump(cloud, open("cloud.json", "w"))
if act == failing:
    sys.exit("refused")
if act == "list":
    if not cloud["there"] and not cloud["secrets"]:
        sys.exit("This Worker does not exist [code: 10007]")
    print(json.dumps([{"name": one, "type": "secret_text"} for one in cloud["secrets"]]))
if act == "push":
    print("1.0: digest: sha256:" + "ab" * 32 + " size: 1570")
"""
_WRANGLER = """\
// A bundle's file.
{
  "name": "shimmy-store", "main": "src/entry.py", /* no vars at the top */
  "env": {
    "test": {
      "vars": { "SHIMMY_STORE_MODE": "test", "SHIMMY_STORE_URL": "",
                "SHIMMY_STORE_LEDGER": "d1://DB", "SHIMMY_STORE_PORTAL": "", },
      "secrets": { "required": ["SHIMMY_STORE_STRIPE_KEY", "SHIMMY_STORE_WEBHOOK_SECRETS"] },
      "d1_databases": [{ "binding": "DB", "database_name": "ledger-test",
                         "database_id": "5b4f7d2c-1111-4222-8333-123456789abc" }],
    }
  }
}
"""
SKIPPED = "site,backups"


@dataclass
class Dock:
    """``released`` has the store; commands are deploys on its profile."""

    released: ReleasedStore
    capsys: pytest.CaptureFixture[str]

    @property
    def folder(self) -> Path:
        return self.released.folder

    def configure(self, **settings: Any) -> None:
        """More lines of the profile."""
        with self.released.town.config.open("a") as file:
            for name, value in settings.items():
                file.write(f"{name} = {json.dumps(value)}\n")

    def stand_in(self, *words: str) -> list[str]:
        """Words that run the stand-in."""
        return [sys.executable, "-I", "-S", str(self.folder / "cloud.py"), *words]

    def begin(self) -> None:
        """The store runs, by a release of nothing but its configuration."""
        given = ("--version", "0.9", "--env", str(self.released.env), "--activate")
        done = self.released.town.run(self.capsys, "release", "record", *given, "--patience", "60")
        assert done.code == 0, done.err

    def deploy(self, to: str, version: str, *given: str, env: Path | None = None) -> Ran:
        asked = ["--to", to, "--version", version, "--skip-preflight-check", SKIPPED]
        if to != "static":
            asked += ["--env", str(env or self.released.env)]
        return self.released.town.run(self.capsys, "deploy", *asked, "--patience", "60", *given)

    def bundle(self, words: str = "one") -> Path:
        folder = self.folder / f"bundle {words}"
        (folder / "src").mkdir(parents=True, exist_ok=True)
        (folder / "src" / "entry.py").write_text(f"# {words}\n")
        (folder / "wrangler.jsonc").write_text(_WRANGLER)
        return folder

    def fail(self, act: str) -> None:
        (self.folder / "fail").write_text(act)

    def heal(self) -> None:
        (self.folder / "fail").unlink(missing_ok=True)

    @property
    def cloud(self) -> Any:
        return json.loads((self.folder / "cloud.json").read_text())

    def calls(self, act: str) -> list[list[str]]:
        return [one for one in self.cloud["calls"] if act in one]

    def journal(self) -> list[tuple[str, str]]:
        """Version and outcome of each line."""
        path = self.folder / "shimmy-releases/sandbox/deploys.jsonl"
        lines = [json.loads(one) for one in path.read_text().splitlines()]
        return [(one["version"], one["outcome"]) for one in lines]

    def logs(self) -> str:
        """All that commands said, as it is kept."""
        folder = self.folder / "shimmy-state/sandbox/deploys"
        assert all(one.stat().st_mode & 0o777 == 0o600 for one in folder.glob("*.log"))
        return "".join(one.read_text() for one in folder.glob("*.log"))


@contextmanager
def open_dock(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Dock]:
    """Run where no repository is: its tree would be scanned each time."""
    monkeypatch.chdir(folder)
    with open_released_store(folder, monkeypatch) as released:
        (folder / "cloud.py").write_text(_STAND_IN)
        yield Dock(released, capsys)
