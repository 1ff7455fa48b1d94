"""The ``LaunchPlaces`` port: from the operator's profiles, and where we are."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from shimmy_ops.domain.launch.commands import canonical, fill_command
from shimmy_ops.domain.launch.plan import Command, Task, TaskProfile
from shimmy_ops.domain.profile import Profile, ProfileName
from shimmy_ops.errors import LaunchError, ProfileError


class ProfilePlaces:
    """``fixed`` are the plan's variables; ``given`` what ``{set}`` stands for.

    ``config`` is the operator's file: profiles' folders lie beside it.
    """

    def __init__(
        self,
        config: Path,
        read_profile: Callable[[ProfileName], Profile],
        fixed: Mapping[str, str],
        given: Sequence[str],
        *,
        root: Path,
        evidence: Path,
        rehearsal: bool,
    ) -> None:
        self._config, self._read_profile = config.resolve(), read_profile
        self._rehearsal, self._evidence, self._given = rehearsal, evidence, given
        self._fixed = {
            **fixed,
            "config": str(self._config),
            "root": str(root),
            "python": sys.executable,
            "evidence": str(evidence),
        }

    def fill(self, task: Task, command: Command) -> list[str]:
        places = {**self._fixed, **self._profiled(task)}
        places["stamp"] = f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"
        try:
            self._evidence.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise LaunchError(
                "launch-evidence-unusable",
                f"{self._evidence} cannot be used: {error.strerror or type(error).__name__}.",
            ) from error
        return fill_command(command, places, self._given)

    def store(self, profile: TaskProfile) -> str | None:
        if profile == "none":
            return None
        name: ProfileName = "sandbox" if self._rehearsal else profile
        try:
            read = self._read_profile(name)
        except ProfileError:
            return None
        named = [read.store_url, read.stripe_url, read.keygen_url, read.keygen_account]
        return hashlib.sha256(canonical(named)).hexdigest()[:12]

    def _profiled(self, task: Task) -> Mapping[str, str]:
        if task.profile == "none":
            return {}
        name: ProfileName = "sandbox" if self._rehearsal else task.profile
        profile = self._read_profile(name)
        base = self._config.parent
        return {
            "profile": name,
            "state": str(base / profile.state_folder),
            "site_folder": str(base / profile.site_folder) if profile.site_folder else "",
            "store_url": profile.store_url,
            "site_url": profile.site_url,
        }
