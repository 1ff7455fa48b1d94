"""argparse with this program's exit code and tone for wrong usage."""

from __future__ import annotations

import argparse
from typing import NoReturn

from shimmy_vision.errors import UsageError


class ArgumentParser(argparse.ArgumentParser):
    """Raises UsageError instead of exiting with argparse's own code 2 (ours is licence)."""

    def error(self, message: str) -> NoReturn:
        raise UsageError("usage", f"{message}.", hint=f"See: {self.prog} --help")


def positive_integer(text: str) -> int:
    """For argparse: an integer of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def viewport(text: str) -> tuple[int, int]:
    """For argparse: width and height like ``1280x800``, within what Python reads at all."""
    width, times, height = text.lower().partition("x")
    if not (times and _is_short_number(width) and _is_short_number(height)):
        raise argparse.ArgumentTypeError("it is written like 1280x800")
    return int(width), int(height)


def _is_short_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9


def gpu_layers(text: str) -> int:
    """For argparse: ``all`` (-1) or a number of layers, 0 for none."""
    value = -1 if text == "all" else int(text)
    if value < -1:
        raise argparse.ArgumentTypeError(f"{value} is neither 'all' nor 0 or more")
    return value


def add_licence_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of every command that needs a licence."""
    parser.add_argument("--license", metavar="KEY", help="use this key, not the activated one")
    parser.add_argument("--machine-id", metavar="ID", help="what makes this machine the same again")
