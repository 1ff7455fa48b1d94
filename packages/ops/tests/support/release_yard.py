"""A yard on a disk with a witness that says what it is told to, and cuts at any call."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shimmy_ops.adapters.releases.object_folders import ObjectFolders
from shimmy_ops.adapters.releases.release_places import ReleasePlaces, Targets
from shimmy_ops.adapters.releases.release_shelf import ReleaseShelf
from shimmy_ops.domain.releases.choosing import Named
from shimmy_ops.domain.releases.records import Part, Release
from shimmy_ops.domain.releases.smoke import Answers, Page
from shimmy_ops.use_cases.put_in_place import Yard, put_in_place
from shimmy_ops.use_cases.record_release import record_release
from shimmy_ops.use_cases.roll_back import roll_back

NOW = datetime(2026, 11, 26, tzinfo=UTC)
_DEPLOY = 'test ! -e refuse && cp "$1/worker.py" deployed && echo "$1" >>deploys'
GOOD = '{"status": "ok", "mode": "test", "version": "1"}'


class Cut(BaseException):
    """The process ends here."""


@dataclass
class Witness:
    """Answers well, but where the site says `broken`."""

    site: Path
    ledger_schema: int | None = None
    health: str = GOOD
    status: int = 200
    pauses: int = 0

    def answers(self, paths: tuple[str, ...], *, site: bool, started: bool) -> Answers:
        index = self.site / "index.html"
        data = index.read_bytes() if index.is_file() else b""
        status = 500 if b"broken" in data else self.status
        pages = {path: Page(status, self.health) for path in paths}
        return Answers(pages, hashlib.sha256(data).hexdigest() if site else "")

    def schema(self) -> int | None:
        return self.ledger_schema

    def started(self) -> str:
        return ""

    def pause(self) -> bool:
        self.pauses += 1
        return self.pauses % 2 == 1

    def begin(self) -> None:
        """Its patience never changes."""


@dataclass
class Cutting:
    """Passes every call on to ``thing``; the one of number ``at`` is cut, after it was done."""

    thing: Any
    count: Callable[[], bool]

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.thing, name)

        def called(*given: Any, **named: Any) -> Any:
            result = method(*given, **named)
            if self.count():
                raise Cut
            return result

        return called


@dataclass
class Place:
    """A folder with places of all three kinds."""

    folder: Path
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.objects = ObjectFolders(self.folder / "releases" / "objects")
        self.shelf = ReleaseShelf(self.folder / "releases", self.objects)
        self.witness = Witness(self.folder / "current")
        self.deployed = self.folder / "deployed"
        self.targets = Targets(
            base=self.folder,
            kept=self.folder / "releases" / "before",
            site=self.folder / "current",
            config=self.folder / "current.env",
            worker=("bash", "-c", _DEPLOY, "deploy", "{folder}"),
        )

    def yard(self, count: Callable[[], bool] | None = None) -> Yard:
        places: Any = ReleasePlaces(self.targets, self.objects)
        shelf: Any = self.shelf
        if count is not None:
            places, shelf = Cutting(places, count), Cutting(shelf, count)
        return Yard(
            shelf, places, self.witness, ("/health", "/pricing"), "test", True,
            lambda: NOW, self.told.append,
        )  # fmt: skip

    def without_worker(self) -> None:
        """The profile names no way to deploy one."""
        self.targets = replace(self.targets, worker=())

    def tree(self, name: str, file: str, text: str) -> Path:
        folder = self.folder / f"{name} {text}"
        folder.mkdir(exist_ok=True)
        (folder / file).write_text(text)
        return folder

    def record(self, version: str, *, worker: bool = True, shelf: Any = None) -> Release:
        folders: dict[Part, Path] = {"site": self.tree("site", "index.html", version)}
        if worker:
            folders["worker"] = self.tree("worker", "worker.py", version)
        named = Named(version, "r", "")
        text = f"export SHIMMY_STORE_MODE=test\nexport SHIMMY_STORE_URL=https://{version}.example\n"
        return record_release(shelf or self.shelf, named, folders, text, NOW)

    def release(self, version: str, **given: Any) -> Release:
        """Recorded and in place."""
        release = self.record(version, **given)
        put_in_place(release, self.yard())
        return release

    def back(self, wanted: int | str | None = None, *, force: bool = False) -> Release:
        return roll_back(wanted, self.yard(), agree, force=force)

    def seen(self) -> tuple[str, str, str]:
        """What the site, the configuration and the Worker are of."""
        index, env = self.folder / "current" / "index.html", self.folder / "current.env"
        site = index.read_text() if index.is_file() else ""
        config = env.read_text().partition("https://")[2].partition(".example")[0] if (
            env.is_file()) else ""  # fmt: skip
        return site, config, self.deployed.read_text() if self.deployed.is_file() else ""


def agree(_: Release) -> None:
    """Nobody is asked."""
