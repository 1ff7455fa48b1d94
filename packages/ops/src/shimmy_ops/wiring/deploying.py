"""What a deploy is done with, on a profile's settings and keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shimmy_ops import __version__
from shimmy_ops.adapters.deploying.folder_bench import FolderBench, JournalFile
from shimmy_ops.adapters.deploying.logged_commands import LoggedCommands
from shimmy_ops.adapters.rotation.environment_secrets import EnvironmentSecrets
from shimmy_ops.domain.preflight.checking import Check, Finding
from shimmy_ops.domain.profile import Profile
from shimmy_ops.settings import child_environment
from shimmy_ops.use_cases.deploy_release import Dock
from shimmy_ops.use_cases.run_preflight import run_preflight
from shimmy_ops.wiring.preflight import ProfileSurroundings, open_gatherer, utc_now
from shimmy_ops.wiring.releases import open_yard


def deploy_log(profile: Profile, base: Path, version: str) -> Path:
    """What the commands of a version's deploys said, redacted."""
    return base / profile.state_folder / "deploys" / f"{version}.log"


@contextmanager
def open_dock(
    profile: Profile,
    config: Path,
    version: str,
    environment: str | None,
    told: Callable[[str], None],
    patience_seconds: float,
) -> Iterator[Dock]:
    """``environment`` is the text of the store's environment file. Raises OpsError."""
    base = config.resolve().parent
    log = deploy_log(profile, base, version)
    commands = LoggedCommands(base, log, child_environment())

    def check(checks: tuple[Check, ...]) -> tuple[Finding, ...]:
        surroundings = ProfileSurroundings(profile, config)
        report = run_preflight(
            checks,
            profile,
            surroundings,
            open_gatherer(),
            lambda _: None,
            now=utc_now(),
            version=__version__,
        )
        return report.findings

    with open_yard(profile, base, told, patience_seconds, commands.deploy) as yard:
        yield Dock(
            profile=profile,
            yard=yard,
            commands=commands,
            bench=FolderBench(),
            journal=JournalFile(base / profile.release_folder / "deploys.jsonl"),
            secrets=EnvironmentSecrets(environment, base),
            check=check,
        )
