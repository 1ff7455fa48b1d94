"""argparse with this program's exit code and tone for wrong usage."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import NoReturn

from shimmy_vision.domain.answer.analysis_request import MODES
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


def share(text: str) -> float:
    """For argparse: a number of 0 or more that is one."""
    value = float(text)
    if not math.isfinite(value) or value < 0:
        raise argparse.ArgumentTypeError(f"{text} is no number of 0 or more")
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


def add_question_arguments(parser: argparse.ArgumentParser) -> None:
    """What is asked of each image and page, and how long that may take."""
    add = parser.add_argument
    add("--mode", choices=MODES, help="full (default), ocr, layout or brief")
    add("--prompt", metavar="TEXT", help="ask your own question; the reply stands under 'answer'")
    add("--schema", metavar="FILE", type=Path, help="JSON Schema the answer must follow")
    add("--pages", metavar="RANGES", help="of PDFs, like 1-3,7,10-; default: every page")
    add("--dpi", metavar="N", type=positive_integer, help="of PDFs; default: what text needs")
    add("--raw", action="store_true", help="keep the model's own words in meta.raw")
    add("--all-slices", action="store_true", help="look at every slice, also at blank ones")
    add(
        "--timeout", metavar="MS", type=positive_integer, help="stop an image or page after so long"
    )
    add("--max-tokens", metavar="N", type=positive_integer, help="bound of each generated answer")
    add("--seed", metavar="N", type=int, help="sample with this seed instead of taking the best")


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model this command loads itself, with what, and the largest files it takes."""
    add = parser.add_argument
    add("--model", metavar="VERSION|DIR", help="4.6, 4.5, 4.0, 2.6 or a folder with a pair")
    add("--verify", action="store_true", help="read every byte of the model before loading it")
    add("--threads", metavar="N", type=positive_integer, default=0, help="default: physical cores")
    add("--gpu-layers", metavar="N|all", type=gpu_layers, default=-1, help="default: all")
    add("--max-image-mb", metavar="MB", type=positive_integer, default=50, help="default: 50")
    add("--max-pdf-mb", metavar="MB", type=positive_integer, default=200, help="default: 200")
    add("--max-dim", metavar="PX", type=positive_integer, default=30_000, help="default: 30000")
