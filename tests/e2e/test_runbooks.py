"""Runbooks name what exists, and what they say is rehearsed: one here, all by `make gate`."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shimmy_ops.cli.main import COMMANDS as OPS_COMMANDS
from shimmy_ops.domain.monitoring.objectives import RATIOS
from shimmy_ops.domain.monitoring.prometheus_rules import rules_text
from shimmy_store.cli.main import COMMANDS as STORE_COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
OWN_ALERTS = re.compile(r"`([a-z]+(?:-[a-z]+)+)`")
PARTS = ("How it shows", "What customers see", "First five minutes", "Mending", "Verify",
         "Afterwards")  # fmt: skip


@pytest.fixture(scope="module")
def scripts() -> Iterator[Any]:
    """Imports a module of ``scripts``."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(str(ROOT / "scripts"))


def test_every_runbook_has_its_parts_is_rehearsed_and_stands_in_the_list(scripts: Any) -> None:
    names = scripts("runbook_blocks").names()
    assert set(names) == set(scripts("runbook_faults").FAULTS)
    listed = (ROOT / "docs/runbooks/README.md").read_text()
    for name in names:
        text = (ROOT / f"docs/runbooks/{name}.md").read_text()
        assert not [one for one in PARTS if f"**{one}" not in text], name
        assert f"({name}.md)" in listed


def test_a_rehearsal_comes_to_every_block_in_the_order_of_its_page(scripts: Any) -> None:
    blocks, plans = scripts("runbook_blocks"), scripts("runbook_faults").FAULTS
    for name in blocks.names():
        steps = [one.step for one in blocks.blocks_of(name)]
        assert steps == [one for one in plans[name] if isinstance(one, str)], name
        assert all(one.commands for one in blocks.blocks_of(name)), name


def test_an_expectation_that_nobody_knows_is_refused(scripts: Any) -> None:
    read = scripts("runbook_blocks").read_blocks
    (block,) = read("```sh look\nfalse  # ends 1, says no\n```\n")
    (command,) = block.commands
    assert (command.text, command.ends, command.says) == ("false", 1, ("no",))
    with pytest.raises(ValueError, match="shouts"):
        read("```sh look\nfalse  # ends 1, shouts no\n```\n")


def test_the_alerts_they_name_are_alerts_of_ours() -> None:
    source = (ROOT / "docs/monitoring.md").read_text()
    table = source[source.index("| alert | when |") :]
    own = set(OWN_ALERTS.findall(table)) | {
        f"burn-{severity}-{one.id}" for severity in ("page", "ticket") for one in RATIOS
    }
    named = 0
    for page in PAGES:
        for shown in re.findall(r"\*\*How it shows\.\*\* (.*?)\n\n", page.read_text(), re.DOTALL):
            for one in re.findall(r"`(ShimmyStore\w+)`", shown):
                assert f'"{one}"' in rules_text(), (page.name, one)
            alerts = {one for one in OWN_ALERTS.findall(shown) if one in own}
            named += len(alerts)
            known = {"secrets-scan", "settling-p99", "release-returned", "ledger-unusable"}
            known |= {"licence-state-not-written"}
            strange = set(OWN_ALERTS.findall(shown)) - own - known
            assert not strange, (page.name, strange)
    assert named > 8


def test_the_commands_they_name_exist() -> None:
    known = {"shimmy-ops": set(OPS_COMMANDS), "shimmy-store": set(STORE_COMMANDS)}
    named = 0
    for page in PAGES:
        for program, word in re.findall(r"\b(shimmy-ops|shimmy-store) ([a-z-]+)", page.read_text()):
            if word not in ("runs", "on"):
                assert word in known[program], (page.name, program, word)
                named += 1
    assert named > 30


@pytest.mark.slow
def test_keygen_is_down_and_the_runbook_mends_it() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/rehearse_runbook.py", "keygen-down"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 runbooks were rehearsed" in done.stdout
