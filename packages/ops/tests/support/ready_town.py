"""An operated town with all that a launch needs: site, backup, legal pages, somebody's mailbox."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from operated_town import OperatedTown, open_operated_town
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from shimmy_ops.cli.main import main
from shimmy_ops.domain.preflight.facts import Facts, Source
from shimmy_ops.domain.preflight.registry import check_facts, choose_checks
from shimmy_ops.domain.profile import Profile, ProfileName, parse_profile
from shimmy_sandbox.simulation.loopback import serve_on_loopback
from shimmy_store.cli.main import main as store_main

NOW = datetime(2027, 1, 15, 12, tzinfo=UTC)
LIVE = {
    "store_url": "https://store.shimmy.app",
    "keygen_account": "shimmy",
    "mail_from": "Shimmy <licences@shimmy.app>",
    "operator_mail": "operator@shimmy.app",
    "site_url": "https://shimmy.app",
    "privacy_url": "https://shimmy.app/privacy",
    "terms_url": "https://shimmy.app/terms",
}


@dataclass
class ReadyTown:
    """``answering`` is a server of anything: ``/site`` is the built site, ``/yes`` says yes."""

    operated: OperatedTown
    answering: str
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.operated.folder

    @property
    def config(self) -> Path:
        return self.operated.town.config

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"

    @property
    def backups(self) -> Path:
        return self.folder / "shimmy-state/sandbox/backups.json"

    @property
    def built(self) -> Path:
        return self.folder / "site"

    def write(self, **changes: Any) -> None:
        """The operator's file, with these settings otherwise; None leaves one out."""
        given = {**self.settings, **changes}
        self.operated.town.write_config(
            **{name: value for name, value in given.items() if value is not None}
        )

    @contextmanager
    def set_up(self, **changes: Any) -> Iterator[None]:
        self.write(**changes)
        try:
            yield
        finally:
            self.write()

    def repair(self) -> None:
        """By our own means."""
        self.operated.town.apply(self.operated.town.desired(**self.settings))

    def write_backup(self, age: timedelta = timedelta(hours=2), *, verified: bool = True) -> None:
        made = datetime.now(UTC) - age
        entry = {
            "file": "backup-1",
            "made": made.isoformat(),
            "verified": made.isoformat() if verified else None,
            "sha256": "0" * 64,
            "rows": 3,
        }
        self.backups.parent.mkdir(parents=True, exist_ok=True)
        self.backups.write_text(json.dumps([entry]))
        self.backups.chmod(0o600)

    def preflight(self, capsys: pytest.CaptureFixture[str], *argv: str) -> Ran:
        """The command; nothing secret and nobody's address is in what it says."""
        given = ["preflight", "--profile", "sandbox", "--config", str(self.config), *argv]
        code = main(given)
        said = capsys.readouterr()
        for secret in (*self.operated.town.secrets(), "operator@"):
            assert secret not in said.out + said.err
        return Ran(code, said.out, said.err)


@dataclass(frozen=True)
class Ran:
    """What the command did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def outcomes(self) -> Mapping[str, str]:
        return {one["id"]: one["outcome"] for one in self.document["checks"]}


async def _yes(_request: Request) -> Response:
    return HTMLResponse('<a href="https://other.shimmy.app/buy?plan=startup">buy</a>')


async def _slow(request: Request) -> Response:
    import asyncio

    await asyncio.sleep(0.55)
    return await _yes(request)


@contextmanager
def open_ready_town(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReadyTown]:
    """Everything that preflight looks at is as it should be."""
    with ExitStack() as stack:
        operated = stack.enter_context(open_operated_town(folder, monkeypatch))
        built = folder / "site"
        build = ["site", "build", "--mode", "test", "--store-url", operated.store.url]
        with redirect_stdout(io.StringIO()):
            assert store_main([*build, "--out", str(built)]) == 0
        slow = [Route("/slow/{rest:path}", _slow)]
        yes = [Route("/yes/{rest:path}", _yes, methods=["GET", "POST"])]
        app = Starlette(routes=[*slow, *yes, Mount("/site", StaticFiles(directory=built))])
        answering = stack.enter_context(serve_on_loopback(app)).url
        settings = {
            "store_url": operated.store.url,
            "operator_mail": "operator@shimmy.example",
            "site_folder": "site",
            "site_url": f"{answering}/site",
            "privacy_url": f"{answering}/site/privacy.html",
            "terms_url": f"{answering}/site/terms.html",
        }
        town = ReadyTown(operated, answering, settings)
        town.write()
        town.repair()
        town.write_backup()
        monkeypatch.chdir(folder)
        yield town


def live_profile(**changes: Any) -> Profile:
    return _profile("live", changes)


def profile_of_tests(**changes: Any) -> Profile:
    return _profile("test", changes)


def _profile(name: ProfileName, changes: Mapping[str, Any]) -> Profile:
    given = {key: value for key, value in {**LIVE, **changes}.items() if value is not None}
    return parse_profile({name: given}, name)


def judged(check: str, profile: Profile, answers: Mapping[Source, Any]) -> tuple[str, str]:
    """Outcome and level of one check, from facts alone."""
    facts = Facts(profile, NOW, "0.1.0", answers)
    (found,) = check_facts(choose_checks([check], []), facts)
    assert found.found and (found.remedy or found.outcome in ("held", "skipped"))
    return found.outcome, found.level
