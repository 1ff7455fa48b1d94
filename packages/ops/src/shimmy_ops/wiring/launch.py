"""The launch: its plan, its record, and what runs its commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shimmy_ops.adapters.launch.ed25519_signer import Ed25519Signer, fresh_key
from shimmy_ops.adapters.launch.jinja_report import JinjaReport, write_page
from shimmy_ops.adapters.launch.output_files import OutputFiles
from shimmy_ops.adapters.launch.plan_file import read_plan_file
from shimmy_ops.adapters.launch.profile_places import ProfilePlaces
from shimmy_ops.adapters.launch.record_files import RecordFiles
from shimmy_ops.adapters.launch.source_witness import SourceWitness
from shimmy_ops.adapters.launch.subprocess_runner import SubprocessRunner
from shimmy_ops.adapters.scanning.git_commands import GitCommands
from shimmy_ops.domain.launch.plan import LaunchPlan
from shimmy_ops.domain.launch.plan_reading import parse_plan
from shimmy_ops.domain.profile import ProfileName
from shimmy_ops.errors import LaunchError
from shimmy_ops.ports.launch import LaunchDesk
from shimmy_ops.ports.safe import Safe
from shimmy_ops.settings import child_environment
from shimmy_ops.wiring.accounts import open_safe, read_profile

LAUNCH_KEY = "launch-key"


@dataclass(frozen=True, slots=True)
class LaunchOrder:
    """Which launch: ``live`` is the one that counts, ``sandbox`` a rehearsal.

    ``plan`` is a file, None for the packed plan; ``overrides`` are for its variables; ``root`` is
    where commands run, None for the repository around this folder.
    """

    config: Path
    profile: ProfileName
    plan: Path | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    root: Path | None = None

    @property
    def rehearsal(self) -> bool:
        """Whether nothing real is touched."""
        return self.profile == "sandbox"

    @property
    def given(self) -> Sequence[str]:
        """The words that say the same plan, variables and place again."""
        words = [part for one in self.overrides.items() for part in ("--set", "=".join(one))]
        if self.plan is not None:
            words += ("--plan", str(self.plan.resolve()))
        if self.root is not None:
            words += ("--root", str(self.root.resolve()))
        return words


def read_launch_plan(order: LaunchOrder) -> LaunchPlan:
    """Raises LaunchError, ContractError."""
    return parse_plan(read_plan_file(order.plan), order.overrides)


def open_launch(order: LaunchOrder, plan: LaunchPlan, *, writes: bool) -> LaunchDesk:
    """All that a launch works with; where it ``writes``, its key is made once. Raises OpsError."""
    profile = read_profile(order.config, order.profile)
    base = order.config.resolve().parent
    folder = base / profile.state_folder / "launch"
    git = GitCommands()
    root = (order.root or git.top(Path()) or Path()).resolve()
    if not root.is_dir():
        raise LaunchError(
            "launch-root-missing", f"{root} is no folder.", hint="--root names where commands run."
        )
    record = RecordFiles(folder, "rehearsal" if order.rehearsal else "record")
    shelf = OutputFiles(folder)
    places = ProfilePlaces(
        order.config,
        lambda name: read_profile(order.config, name),
        plan.variables,
        order.given,
        root=root,
        evidence=folder / "evidence",
        rehearsal=order.rehearsal,
    )
    return LaunchDesk(
        record=record,
        signer=_signer(open_safe(profile, base), record, writes=writes),
        shelf=shelf,
        runner=SubprocessRunner(root, child_environment(), shelf),
        places=places,
        witness=SourceWitness(root, git),
        clock=launch_clock,
        rehearsal=order.rehearsal,
    )


def launch_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def _signer(safe: Safe, record: RecordFiles, *, writes: bool) -> Ed25519Signer:
    """Made while nobody else writes, so that two first runs make one key."""
    kept = safe.read(LAUNCH_KEY)
    if kept is not None:
        return Ed25519Signer(kept)
    if record.read().lines:
        raise LaunchError(
            "launch-key-missing",
            "There is a record of the launch, and the key that it is signed with is gone.",
            hint=f"Bring {LAUNCH_KEY} back to where secrets are kept: without it nobody can tell "
            "whether the record is what was written.",
        )
    if not writes:
        return Ed25519Signer(fresh_key())
    with record.alone():
        safe.prepare()
        made = safe.read(LAUNCH_KEY) or fresh_key()
        safe.keep(LAUNCH_KEY, made)
    return Ed25519Signer(made)


def write_report(document: Mapping[str, Any], markdown: Path | None, html: Path | None) -> str:
    """Write what was asked for; the Markdown. Raises KeepingError."""
    pages = JinjaReport()
    text = pages.markdown(document)
    if markdown is not None:
        write_page(markdown, text)
    if html is not None:
        write_page(html, pages.html(document))
    return text
