"""The commands of a runbook, as a person would type them: read out of its fenced blocks.

A block that begins with ```` ```sh STEP ```` belongs to the rehearsal; any other block does not. A
line is a command. What it is followed by after two blanks and ``# `` says what must be seen:
``ends N`` (its exit code; 0 where nothing is said) and ``says TEXT`` (somewhere in its output).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RUNBOOKS = Path(__file__).resolve().parents[1] / "docs" / "runbooks"
_BLOCK = re.compile(r"^```sh ([a-z-]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXPECTED = re.compile(r"^(.*?)\s{2,}# ((?:ends|says) .*)$")


@dataclass(frozen=True, slots=True)
class Command:
    """``text`` for a shell; ``says`` all of them in what it prints."""

    text: str
    ends: int
    says: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """The commands of one step, in order."""

    step: str
    commands: tuple[Command, ...]


def read_blocks(text: str) -> tuple[Block, ...]:
    """All rehearsed blocks of a runbook. Raises ValueError for an expectation nobody knows."""
    return tuple(Block(found[1], tuple(_commands(found[2]))) for found in _BLOCK.finditer(text))


def names() -> tuple[str, ...]:
    """Every runbook there is."""
    return tuple(sorted(one.stem for one in RUNBOOKS.glob("*.md") if one.stem != "README"))


def blocks_of(name: str) -> tuple[Block, ...]:
    """Those of ``docs/runbooks/NAME.md``."""
    return read_blocks((RUNBOOKS / f"{name}.md").read_text(encoding="utf-8"))


def _commands(text: str) -> Iterator[Command]:
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith("#"):
            yield _command(line)


def _command(line: str) -> Command:
    found = _EXPECTED.match(line)
    if found is None:
        return Command(line.strip(), 0, ())
    ends, says = 0, []
    for one in found[2].split(", "):
        word, _, rest = one.partition(" ")
        if word == "ends":
            ends = int(rest)
        elif word == "says" and rest:
            says.append(rest)
        else:
            raise ValueError(f"{one!r} is neither `ends N` nor `says TEXT`: {line}")
    return Command(found[1].strip(), ends, tuple(says))
