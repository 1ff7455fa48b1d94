"""``shimmy completion``: each shell takes its script, and offers what the parsers know."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from shimmy_vision.cli.command_tree import Node, read_commands
from shimmy_vision.cli.completion import SHELLS
from shimmy_vision.cli.main import COMMANDS, main


@pytest.fixture(scope="module")
def nodes() -> tuple[Node, ...]:
    return tuple(read_commands())


def _script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


def test_every_command_is_in_the_tree_with_its_options(nodes: tuple[Node, ...]) -> None:
    by_path = {one.path: one for one in nodes}
    assert {path[0] for path in by_path if path} == set(COMMANDS)
    assert set(by_path[("license",)].words) >= {"activate", "status", "deactivate"}
    names = {name for option in by_path[("models", "pull")].options for name in option.names}
    assert {"--yes", "--force", "--help"} <= names
    (mode,) = (one for one in by_path[("vision",)].options if "--mode" in one.names)
    assert mode.choices == ("full", "ocr", "layout", "brief")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_reads_its_script_and_finds_every_option_in_it(
    shell: str, nodes: tuple[Node, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = _script(shell, capsys)
    for node in nodes:
        for option in node.options:
            for name in option.names:
                word = f"-l {name[2:]}" if shell == "fish" and name[:2] == "--" else name[1:]
                assert re.search(rf"{re.escape(word)}\b", script), (shell, node.path, name)
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed: its script was searched, not run")
    file = tmp_path / "script"
    file.write_text(script)
    checked = subprocess.run([program, "-n", file], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def _bash_offers(script: Path, *words: str) -> set[str]:
    asked = " ".join(f"'{word}'" for word in words)
    program = (
        f"source '{script}'; COMP_WORDS=(shimmy {asked}); COMP_CWORD={len(words)}; "
        '_shimmy; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", program], capture_output=True, text=True, check=True,
        cwd=script.parent,
    )  # fmt: skip
    assert not done.stderr
    return set(done.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_offers_what_may_come_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(_script("bash", capsys))
    assert _bash_offers(script, "") == set(COMMANDS)
    assert _bash_offers(script, "se") == {"serve", "self-check"}
    assert _bash_offers(script, "license", "dea") == {"deactivate"}
    assert _bash_offers(script, "vision", "--mode", "") == {"full", "ocr", "layout", "brief"}
    assert _bash_offers(script, "models", "pull", "--f") == {"--force"}
    assert _bash_offers(script, "completion", "") == set(SHELLS)
    # A word that is a command elsewhere moves nothing here.
    assert _bash_offers(script, "vision", "license", "--sch") == {"--schema"}


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_offers_what_may_come_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "shimmy.fish"
    script.write_text(_script("fish", capsys))

    def offers(line: str) -> set[str]:
        program = f"source '{script}'; complete -C '{line}'"
        done = subprocess.run(
            ["fish", "--no-config", "-c", program], capture_output=True, text=True, check=True,
            cwd=tmp_path, env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        return {row.partition("\t")[0] for row in done.stdout.splitlines()}

    assert offers("shimmy ") >= set(COMMANDS)
    assert offers("shimmy license dea") == {"deactivate"}
    assert offers("shimmy vision --mode ") == {"full", "ocr", "layout", "brief"}
