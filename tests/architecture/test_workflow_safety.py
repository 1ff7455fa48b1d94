"""Workflows that nobody can turn against us, as ``zizmor`` looks for it; reasons for exceptions.

Each rule is shown a workflow that breaks it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.y*ml"))
SOURCES = sorted(ROOT.glob("packages/*/src/**/*.py"))
# Others can write these: what is in them becomes part of a script, wherever it is put.
_FOREIGN = re.compile(
    r"github\.(event\b|head_ref|ref_name|actor|triggering_actor)|inputs\.|matrix\.\w+\.|needs\."
    r"|steps\.[\w-]+\.outputs|env\.|vars\.|secrets\."
)
_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_PINNED = re.compile(r"[\w./-]+@[0-9a-f]{40}")
# Started by strangers, with our rights.
_DANGEROUS = {"pull_request_target", "workflow_run", "issue_comment", "issues", "discussion"}
_INSTALLS = re.compile(r"\b(pip3? install|npm (i|install)\b|curl [^|\n]*\|\s*(ba)?sh|pipx? run)")


def faults(text: str) -> Iterator[str]:
    """What is wrong with a workflow, by name."""
    flow: dict[Any, Any] = yaml.safe_load(text)
    started = flow.get(True, flow.get("on", {}))
    events = {started} if isinstance(started, str) else set(started)
    yield from (f"dangerous-trigger {one}" for one in sorted(events & _DANGEROUS))
    yield from _rights(flow.get("permissions"), "workflow", top=True)
    for name, job in flow["jobs"].items():
        yield from _rights(job.get("permissions", {}), name)
        if "timeout-minutes" not in job:
            yield f"no-timeout {name}"
        if job.get("secrets") == "inherit":
            yield f"secrets-inherited {name}"
        if "self-hosted" in str(job.get("runs-on", "")):
            yield f"self-hosted {name}"
        if "uses" in job and not _PINNED.fullmatch(job["uses"]):
            yield f"unpinned {job['uses']}"
        for step in job.get("steps", ()):
            yield from _step(step)


def _rights(given: Any, where: str, *, top: bool = False) -> Iterator[str]:
    if given is None or isinstance(given, str):
        yield f"wide-rights {where}"
        return
    written = [one for one, level in given.items() if level == "write"]
    if top and written:
        yield f"rights-for-all-jobs {', '.join(written)}"


def _step(step: dict[str, Any]) -> Iterator[str]:
    used, script, given = step.get("uses", ""), step.get("run", ""), step.get("with", {})
    if used and not used.startswith("./") and not _PINNED.fullmatch(used):
        yield f"unpinned {used}"
    if used.startswith("actions/checkout@") and given.get("persist-credentials") is not False:
        yield "credentials-kept"
    if used.startswith("actions/cache"):
        yield "cache-in-a-release"
    said = [script, str(given.get("script", ""))]
    for found in _EXPRESSION.findall("\n".join(said)):
        if _FOREIGN.search(found):
            yield f"script-injection {found.strip()}"
    for line in script.splitlines():
        if _INSTALLS.search(line) and not re.search(r"--require-hashes|--no-deps \./|npm ci", line):
            yield f"unpinned-install {line.strip()}"
        if re.search(r"::(set-env|add-path)|ACTIONS_ALLOW_UNSECURE_COMMANDS", line):
            yield "unsafe-command"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_no_workflow_can_be_turned_against_us(path: Path) -> None:
    assert list(faults(path.read_text(encoding="utf-8"))) == []


GOOD = """
on: push
permissions: {contents: read}
jobs:
  build:
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    steps:
      - uses: actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683
        with: {persist-credentials: false}
      - env: {NAME: "${{ github.head_ref }}"}
        run: echo "$NAME"
"""


@pytest.mark.parametrize(
    ("was", "becomes", "fault"),
    [
        ("on: push", "on: pull_request_target", "dangerous-trigger pull_request_target"),
        ("on: push", "on: {issue_comment: {}}", "dangerous-trigger issue_comment"),
        ("permissions: {contents: read}", "", "wide-rights workflow"),
        ("{contents: read}", "write-all", "wide-rights workflow"),
        ("{contents: read}", "{contents: write}", "rights-for-all-jobs contents"),
        ("    timeout-minutes: 5\n", "", "no-timeout build"),
        ("@11bd71901bbe5b1630ceea73d27597364c9af683", "@v4", "unpinned actions/checkout@v4"),
        ("{persist-credentials: false}", "{fetch-depth: 0}", "credentials-kept"),
        ('echo "$NAME"', "echo ${{ github.head_ref }}", "script-injection github.head_ref"),
        ('echo "$NAME"', "echo ${{ github.event.issue.title }}", "script-injection"),
        ('echo "$NAME"', "echo ${{ secrets.KEY }}", "script-injection secrets.KEY"),
        ('echo "$NAME"', "pip install requests", "unpinned-install pip install requests"),
        ('echo "$NAME"', "curl -s https://x | sh", "unpinned-install"),
        ("ubuntu-24.04", "[self-hosted]", "self-hosted build"),
        ("    timeout-minutes", "    secrets: inherit\n    timeout-minutes", "secrets-inherited"),
    ],
)
def test_each_fault_of_a_workflow_is_seen(was: str, becomes: str, fault: str) -> None:
    assert list(faults(GOOD)) == []
    assert was in GOOD
    assert [one for one in faults(GOOD.replace(was, becomes)) if one.startswith(fault)]


def unexplained(text: str) -> list[int]:
    """Lines that switch off a security rule and say no reason, on them or right above."""
    lines = text.splitlines()
    return [
        number
        for number, line in enumerate(lines, 1)
        if re.search(r"# noqa: [A-Z0-9, ]*\bS\d+", line)
        and not re.search(r"# noqa: [A-Z0-9, ]+ - \S", line)
        and not (number > 1 and lines[number - 2].lstrip().startswith("#"))
    ]


def test_no_security_rule_is_switched_off_without_a_reason() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in SOURCES
        for number in unexplained(path.read_text(encoding="utf-8"))
    ]
    assert found == []
    assert unexplained("x = 1  # noqa: S101\n") == [1]
    assert unexplained("x = 1  # noqa: S101 - of ours\n# why\ny = 1  # noqa: BLE001, S102\n") == []


def test_ruffs_security_rules_are_on_for_all_sources() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (selected,) = re.findall(r"^select = (\[.*\])$", text, re.MULTILINE)
    assert '"S"' in selected
    off = set(re.findall(r"^ +\"(S\d+)\", +# \S", text, re.MULTILINE))
    assert off == set(re.findall(r"^ +\"(S\d+)\"", text, re.MULTILINE)) == {"S603"}
