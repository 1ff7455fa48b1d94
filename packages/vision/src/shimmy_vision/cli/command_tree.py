"""The tree of commands, read from the commands' own parsers."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator
from dataclasses import dataclass

from shimmy_vision.cli.arguments import ArgumentParser


@dataclass(frozen=True, slots=True)
class Option:
    """``names`` like ``-h`` and ``--help``; ``choices`` may follow, where ``takes`` a value."""

    names: tuple[str, ...]
    summary: str
    takes: bool
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """A command: ``path`` are its words after ``shimmy``, ``words`` those that may follow."""

    path: tuple[str, ...]
    summary: str
    options: tuple[Option, ...]
    words: tuple[str, ...]


def read_commands() -> Iterator[Node]:
    """Every command and sub-command; the first is ``shimmy`` itself."""
    from shimmy_vision.cli.main import COMMANDS

    own = (
        Option(("-h", "--help"), "what there is", takes=False, choices=()),
        Option(("-V", "--version"), "which version this is", takes=False, choices=()),
    )
    yield Node((), "", own, tuple(COMMANDS))
    for name, command in COMMANDS.items():
        parser = ArgumentParser(prog=f"shimmy {name}", description=command.summary)
        importlib.import_module(command.module).add_arguments(parser)
        yield from _walk(parser, (name,), command.summary)


def _walk(parser: argparse.ArgumentParser, path: tuple[str, ...], summary: str) -> Iterator[Node]:
    below: dict[str, argparse.ArgumentParser] = {}
    summaries: dict[str, str] = {}
    options: list[Option] = []
    words: list[str] = []
    for action in parser._actions:  # argparse has no other way to ask
        if isinstance(action, argparse._SubParsersAction):
            below.update(action.choices)
            summaries.update({one.dest: one.help or "" for one in action._choices_actions})
        elif action.option_strings:
            takes = action.nargs != 0
            names = tuple(action.option_strings)
            options.append(Option(names, _said(action), takes, _choices(action)))
        else:
            words += _choices(action)
    yield Node(path, summary, tuple(options), (*below, *words))
    for name, one in below.items():
        yield from _walk(one, (*path, name), summaries.get(name, ""))


def _choices(action: argparse.Action) -> tuple[str, ...]:
    return tuple(str(one) for one in action.choices or ())


def _said(action: argparse.Action) -> str:
    said = action.help or ""
    return "" if said == argparse.SUPPRESS else " ".join(said.replace("%%", "%").split())
