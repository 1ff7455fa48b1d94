"""``shimmy``: one module a command, imported only when that command runs.

``shimmy --help`` must answer in under 150 ms and without the native library,
so nothing heavy is imported here.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import NamedTuple

from shimmy_vision import __version__
from shimmy_vision.cli.arguments import ArgumentParser
from shimmy_vision.cli.exit_codes import INTERRUPTED, OK, OUTPUT, exit_code
from shimmy_vision.errors import ShimmyError, UsageError


class Command(NamedTuple):
    """``module`` has ``add_arguments(parser)`` and ``run(args) -> exit code``."""

    module: str
    summary: str


COMMANDS = {
    "vision": Command("shimmy_vision.cli.vision", "Analyse images and print JSON."),
    "batch": Command("shimmy_vision.cli.batch", "Analyse many images, going on where it stopped."),
    "serve": Command("shimmy_vision.cli.serve", "Serve the HTTP API on this machine."),
    "mcp": Command("shimmy_vision.cli.mcp", "Be a tool of AI agents (MCP on standard input)."),
    "license": Command("shimmy_vision.cli.license", "Activate a licence and see what it allows."),
    "models": Command("shimmy_vision.cli.models", "List, download, verify and remove models."),
    "schema": Command("shimmy_vision.cli.schema", "Print the JSON Schema of a result."),
    "doctor": Command("shimmy_vision.cli.doctor", "Tell what is installed and what to do next."),
    "self-check": Command("shimmy_vision.cli.self_check", "Hold this program against its build."),
    "completion": Command("shimmy_vision.cli.completion", "Print a shell's completion script."),
    "uninstall": Command("shimmy_vision.cli.uninstall", "Remove what this program left here."),
}
HIDDEN = {
    "engine-worker": Command("shimmy_vision.cli.engine_worker", "Analyse for another process."),
    "probe-engine": Command("shimmy_vision.cli.probe_engine", "Load a model in a trial process."),
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    _leave_no_dumps()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Terminals that know few characters get question marks, not tracebacks.
            stream.reconfigure(errors="replace")
    try:
        return _dispatch(arguments)
    except ShimmyError as error:
        print_error(error)
        return exit_code(error)
    except KeyboardInterrupt:
        print("shimmy: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away; a second error at interpreter exit would only repeat it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OUTPUT


def _leave_no_dumps() -> None:
    """What the system keeps of a crash would hold the image, and the licence key.

    For this process and the ones that it starts.
    """
    if sys.platform == "win32":
        return
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))


def print_error(error: ShimmyError, *, about: str = "") -> None:
    """Message, hint and code on standard error."""
    place = f"{about}: " if about else ""
    print(f"shimmy: {place}{error.message} [{error.code}]", file=sys.stderr)
    if error.hint:
        print(f"  → {error.hint}", file=sys.stderr)


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return OK
    name, rest = arguments[0], arguments[1:]
    if name in ("-V", "--version", "version"):
        print(_version())
        return OK
    command = COMMANDS.get(name) or HIDDEN.get(name)
    if command is None:
        raise _unknown(name)
    module = importlib.import_module(command.module)
    parser = ArgumentParser(prog=f"shimmy {name}", description=command.summary)
    module.add_arguments(parser)
    try:
        parsed = parser.parse_args(rest)
    except SystemExit as finished:  # --help
        return int(finished.code or OK)
    return int(module.run(parsed))


def _version() -> str:
    from shimmy_vision.domain.licence.pinned import PINNED

    return f"shimmy {__version__}" + (" (SANDBOX)" if PINNED.sandbox else "")


def _help() -> str:
    width = max(len(name) for name in COMMANDS)
    listed = "\n".join(f"  {name:<{width}}  {c.summary}" for name, c in COMMANDS.items())
    return (
        "Shimmy Vision: an image in, strict JSON out, on your own machine.\n\n"
        f"usage: shimmy COMMAND [options]\n\n{listed}\n\n"
        "Start with: shimmy doctor\n"
        "Help on a command: shimmy COMMAND --help"
    )


def _unknown(name: str) -> UsageError:
    if name.startswith("-"):
        return UsageError("usage", f"Unknown option: {name}.", hint="See: shimmy --help")
    import difflib  # Its import takes longer than most commands' whole start.

    close = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"Did you mean: shimmy {close[0]}" if close else "See: shimmy --help"
    return UsageError("unknown-command", f"There is no command '{name}'.", hint=hint)
