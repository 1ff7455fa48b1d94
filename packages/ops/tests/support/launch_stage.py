"""A small launch in a folder of its own, and the parts that it is made of."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shimmy_ops.adapters.launch.ed25519_signer import Ed25519Signer
from shimmy_ops.cli.main import main
from shimmy_ops.domain.launch.entries import NOTHING, Entry
from shimmy_ops.domain.launch.plan import LaunchPlan
from shimmy_ops.domain.launch.plan_reading import parse_plan
from shimmy_ops.domain.launch.record import CheckedRecord, KeptRecord, check_record
from shimmy_ops.ports.launch import LaunchDesk
from shimmy_ops.use_cases.record_entry import record_entry
from shimmy_ops.wiring.launch import LaunchOrder, open_launch, read_launch_plan

NOW = datetime(2026, 11, 26, 12, 0, 0, tzinfo=UTC)
SIGNER = Ed25519Signer("11" * 32)
PYTHON = sys.executable


def task(name: str, phase: int = 1, **changes: Any) -> dict[str, Any]:
    """A task that a command verifies, or a person with ``ask``."""
    made: dict[str, Any] = {
        "id": name, "phase": phase, "title": f"Do {name}", "why": "Because.",
        "do": f"Somebody does {name}.", "days": 1, "owner": "engineer",
    }  # fmt: skip
    if "ask" in changes:
        made["attest"] = True
    elif "verify" not in changes:
        made["verify"] = ["{python}", "-c", f"print('{name} done')"]
    return {**made, **changes}


def plan_data(*tasks: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What a plan's file says."""
    phases = {str(one["phase"]): f"Phase number {one['phase']}" for one in tasks}
    return {"title": "A small launch", "phases": phases, "task": list(tasks), **changes}


def make_plan(*tasks: dict[str, Any], **changes: Any) -> LaunchPlan:
    return parse_plan(plan_data(*tasks, **changes))


class MemoryRecord:
    """The ``LaunchRecord`` port without a disk."""

    def __init__(self) -> None:
        self.lines, self.head = b"", b""

    @contextmanager
    def alone(self) -> Iterator[None]:
        yield

    def read(self) -> KeptRecord:
        return KeptRecord(self.lines, self.head or None)

    def begin(self, head: bytes) -> None:
        self.head = head

    def append(self, line: bytes, head: bytes) -> None:
        self.lines, self.head = self.lines + line + b"\n", head


def entry(name: str, **changes: Any) -> Entry:
    """Not yet placed or signed."""
    made = Entry(0, NOTHING, NOW, name, "d" * 64, "attested", rehearsal=True, by="Ada", note="seen")
    return replace(made, **changes)


def kept_record(count: int) -> KeptRecord:
    """A whole record of so many entries."""
    record, checked = MemoryRecord(), CheckedRecord((), (), 0, NOTHING)
    for number in range(count):
        _, checked = record_entry(entry(f"task-{number}"), checked, record, SIGNER)
    return record.read()


def problems_of(kept: KeptRecord) -> tuple[str, ...]:
    return check_record(kept, SIGNER, rehearsal=True).problems


def toml(data: dict[str, Any]) -> str:
    """As much of TOML as plans need."""

    def written(value: Any) -> str:
        if isinstance(value, list):
            return "[" + ", ".join(map(written, value)) + "]"
        if isinstance(value, bool | int | float):
            return str(value).lower()
        escaped = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'

    def table(values: dict[str, Any]) -> list[str]:
        return [f"{name} = {written(value)}" for name, value in values.items()]

    lines = [f"title = {written(data['title'])}"]
    for name in ("variables", "phases"):
        lines += [f"[{name}]", *table(data.get(name, {}))]
    for name, values in data.get("criteria", {}).items():
        lines += [f"[criteria.{name}]", *table(values)]
    for one in data["task"]:
        lines += ["[[task]]", *table(one)]
    return "\n".join(lines) + "\n"


@dataclass
class Stage:
    """A folder with an operator's file and a plan; what is run there is a rehearsal."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "shimmy-ops.toml"

    @property
    def plan_file(self) -> Path:
        return self.folder / "plan.toml"

    @property
    def launch(self) -> Path:
        return self.folder / "shimmy-state/sandbox/launch"

    @property
    def record(self) -> Path:
        return self.launch / "rehearsal.jsonl"

    @property
    def order(self) -> LaunchOrder:
        return LaunchOrder(self.config, "sandbox", self.plan_file, root=self.folder)

    def write(self, *tasks: dict[str, Any], **changes: Any) -> None:
        self.plan_file.write_text(toml(plan_data(*tasks, **changes)))

    def argv(self, *words: str) -> list[str]:
        return [
            "launch", *words, "--profile", "sandbox", "--config", str(self.config),
            "--plan", str(self.plan_file), "--root", str(self.folder),
        ]  # fmt: skip

    def run(self, *words: str) -> int:
        return main(self.argv(*words))

    def desk(self) -> tuple[LaunchPlan, LaunchDesk]:
        plan = read_launch_plan(self.order)
        return plan, open_launch(self.order, plan, writes=True)


def open_stage(folder: Path) -> Stage:
    stage = Stage(folder)
    stage.config.write_text(
        '[sandbox]\nstore_url = "http://127.0.0.1:8400"\nstripe_url = "http://127.0.0.1:7420"\n'
        'keygen_url = "http://127.0.0.1:7410"\nkeygen_account = "shimmy"\n'
        'mail_from = "Shimmy <licences@shimmy.example>"\n'
    )
    return stage
