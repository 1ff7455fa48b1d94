"""``shimmy probe-engine``: the trial process. Loads, encodes and decodes once, or dies trying."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from shimmy_vision.cli.exit_codes import OK, exit_code
from shimmy_vision.domain.model.encoder_choice import ENCODER_WISHES, PRECISIONS
from shimmy_vision.errors import ShimmyError
from shimmy_vision.ports.engine_probe import EngineFiles, EngineOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the parent passes on."""
    add = parser.add_argument
    add("--library", type=Path, required=True)
    add("--main", type=Path)
    add("--projector", type=Path)
    add("--family", choices=("2.6", "4.0", "4.5", "4.6"))
    add("--threads", type=int, default=0)
    add("--gpu-layers", type=int, default=0)
    add("--context", type=int, default=1024)
    add("--sequences", type=int, default=1)
    add("--encoder", choices=ENCODER_WISHES, default="mtmd")
    add("--precision", choices=PRECISIONS)
    add("--main-sha256", default="")
    add("--projector-sha256", default="")
    add("--int8", action="store_true")


def run(args: argparse.Namespace) -> int:
    """Print a report of the library, of int8, or nothing for a whole engine that works."""
    from shimmy_vision.settings import encoder_order, read_settings
    from shimmy_vision.wiring.engines import (
        describe_library_here,
        probe_error_line,
        try_engine_here,
        try_int8_here,
    )

    settings = read_settings()
    try:
        if args.main is None:
            print(describe_library_here(settings, args.library))
        else:
            digests = args.main_sha256, args.projector_sha256
            files = EngineFiles(args.main, args.projector, args.family, False, *digests)
            encoder = replace(encoder_order(settings), wish=args.encoder)
            if args.precision is not None:
                encoder = replace(encoder, precision=args.precision)
            shape = args.threads, args.gpu_layers, args.context, args.sequences
            options = EngineOptions(*shape, encoder)
            if args.int8:
                print(try_int8_here(settings, args.library, files, options))
            else:
                try_engine_here(settings, args.library, files, options)
    except ShimmyError as error:
        print(probe_error_line(error))
        return exit_code(error)
    return OK
