"""``shimmy completion bash|zsh|fish``: made of the commands' own parsers, so never old."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator
from dataclasses import dataclass

from shimmy_vision.cli.arguments import ArgumentParser
from shimmy_vision.cli.exit_codes import OK

SHELLS = ("bash", "zsh", "fish")


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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = (
        'bash: eval "$(shimmy completion bash)"  '
        'zsh: shimmy completion zsh > "${fpath[1]}/_shimmy"  '
        "fish: shimmy completion fish > ~/.config/fish/completions/shimmy.fish"
    )
    parser.add_argument("shell", choices=SHELLS)


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    from shimmy_vision.cli import completion_scripts

    writers = {
        "bash": completion_scripts.bash_script,
        "zsh": completion_scripts.zsh_script,
        "fish": completion_scripts.fish_script,
    }
    print(writers[args.shell](tuple(read_commands())), end="")
    return OK


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
