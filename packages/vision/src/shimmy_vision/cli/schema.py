"""``shimmy schema``: the published JSON Schema of a result."""

from __future__ import annotations

import argparse
import json

from shimmy_vision.cli.exit_codes import OK
from shimmy_vision.domain.answer.analysis_request import MODES, CustomQuestion, StandardQuestion
from shimmy_vision.domain.answer.result_schema import result_schema


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--mode", choices=(*MODES, "custom"), default="full")


def run(args: argparse.Namespace) -> int:
    """Print the schema."""
    question = CustomQuestion() if args.mode == "custom" else StandardQuestion(args.mode)
    print(json.dumps(result_schema(question), indent=2))
    return OK
