"""``shimmy completion bash|zsh|fish``: made of the commands' own parsers, so never old."""

from __future__ import annotations

import argparse

from shimmy_vision.cli.exit_codes import OK

SHELLS = ("bash", "zsh", "fish")


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
    from shimmy_vision.cli.command_tree import read_commands

    writers = {
        "bash": completion_scripts.bash_script,
        "zsh": completion_scripts.zsh_script,
        "fish": completion_scripts.fish_script,
    }
    print(writers[args.shell](tuple(read_commands())), end="")
    return OK
