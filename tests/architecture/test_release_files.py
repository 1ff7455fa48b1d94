"""What a release is made by, held to rules: pinned actions, named secrets, whole templates."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / ".github/workflows/release.yml"
SUMS = "".join(
    f"{str(place) * 64}  shimmy-{name}\n"
    for place, name in enumerate(
        ("linux-x86_64", "linux-arm64", "macos-arm64", "macos-x86_64", "windows-x86_64.exe")
    )
)


@pytest.fixture(scope="module")
def text() -> str:
    return WORKFLOW.read_text()


@pytest.fixture(scope="module")
def workflow(text: str) -> dict[Any, Any]:
    loaded: dict[Any, Any] = yaml.safe_load(text)
    return loaded


def test_every_action_is_pinned_to_a_commit_or_a_whole_version(text: str) -> None:
    used = re.findall(r"uses: (\S+)", text)
    assert used
    for one in used:
        name, _, pin = one.partition("@")
        assert re.fullmatch(r"[0-9a-f]{40}|v\d+\.\d+\.\d+", pin), name


def test_each_secret_is_explained_at_the_top_and_in_the_guide(text: str) -> None:
    secrets = set(re.findall(r"secrets\.([A-Z_]+)", text))
    assert {"PAYLOAD_KEY", "APPLE_CERTIFICATE", "AZURE_CLIENT_ID"} <= secrets
    head = text.partition("\nname:")[0]
    guide = (ROOT / "docs/signing.md").read_text()
    for name in secrets:
        assert name in head, name
        assert name in guide, name


def test_secrets_reach_steps_through_variables_never_through_scripts(
    workflow: dict[Any, Any],
) -> None:
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            assert "secrets." not in step.get("run", "")
            assert "github.event" not in step.get("run", "")


def test_rights_are_least_and_every_job_ends(workflow: dict[Any, Any]) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    assert list(workflow[True]) == ["push"]  # YAML's `on`
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 120
        assert job["environment"] == "release"
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] is False


def test_each_system_is_built_signed_and_tried(workflow: dict[Any, Any]) -> None:
    names = {one["name"] for one in workflow["jobs"]["build"]["strategy"]["matrix"]["include"]}
    assert names == {line.split("shimmy-")[1].removesuffix(".exe") for line in SUMS.splitlines()}
    steps = workflow["jobs"]["build"]["steps"]
    said = "\n".join(str(one.get("run") or one.get("uses")) for one in steps)
    for word in ("codesign", "notarytool", "trusted-signing", "self-check", "--key"):
        assert word in said
    # What is uploaded was tried after it was signed.
    assert said.index("trusted-signing") < said.index("self-check") < said.index("upload-artifact")


def test_scripts_in_the_workflow_are_sound_bash(workflow: dict[Any, Any]) -> None:
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            script = re.sub(r"\$\{\{.*?\}\}", "x", step.get("run", ""))
            done = subprocess.run(["bash", "-n"], input=script, text=True, check=False)
            assert done.returncode == 0, step.get("name")


def _fill(tmp_path: Path, sums: str, *more: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "SHA256SUMS").write_text(sums)
    words = (
        *("1.2.3", str(tmp_path / "SHA256SUMS"), "--homepage", "https://example.com"),
        *("--base-url", "https://example.com/releases/v1.2.3", "--out", str(tmp_path / "out")),
    )
    return subprocess.run(
        [sys.executable, ROOT / "scripts/fill_packaging.py", *words, *more],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_packages_are_filled_whole(tmp_path: Path) -> None:
    assert _fill(tmp_path, SUMS).returncode == 0
    texts = {one.name: one.read_text() for one in (tmp_path / "out").iterdir()}
    assert set(texts) == {"shimmy.rb", "shimmy.json", "Dockerfile"}
    assert not any(re.search(r"@[A-Z0-9_]+@", one) for one in texts.values())
    assert json.loads(texts["shimmy.json"])["architecture"]["64bit"]["hash"] == "4" * 64
    assert texts["shimmy.rb"].count("sha256") == 4
    assert f"sha256:{'0' * 64}" in texts["Dockerfile"]


@pytest.mark.parametrize(
    ("sums", "more"),
    [
        (SUMS.replace("macos-arm64", "macos-other"), ()),
        (SUMS, ("--base-url", "http://example.com")),
        (SUMS, ("--homepage", 'https://example.com/"; system "x')),
    ],
)
def test_a_package_is_not_filled_by_half_or_with_what_needs_quoting(
    sums: str, more: tuple[str, ...], tmp_path: Path
) -> None:
    assert _fill(tmp_path, sums, *more).returncode == 1
    assert not (tmp_path / "out").exists()
