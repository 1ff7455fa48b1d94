"""``shimmy vision``: images in, JSON out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from shimmy_vision.cli.arguments import add_licence_arguments, gpu_layers, positive_integer
from shimmy_vision.cli.exit_codes import (
    INTERRUPTED,
    OK,
    SOME_FAILED,
    concerns_every_image,
    exit_code,
)
from shimmy_vision.cli.image_sources import ImageSource, find_images
from shimmy_vision.cli.supervise import Interrupts, supervise
from shimmy_vision.domain.answer.analysis_request import (
    MODES,
    AnalysisRequest,
    AnswerLimits,
    CustomQuestion,
    Question,
    StandardQuestion,
)
from shimmy_vision.errors import OutputError, SchemaError, ShimmyError, StoppedError, UsageError

_EPILOG = (
    "exit codes: 0 ok, 1 some failed, 2 licence, 3 model or library, 4 output, 5 timeout, 64 usage"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = _EPILOG
    add = parser.add_argument
    add(
        "images", nargs="+", metavar="IMAGE", help="file, 'pattern', folder or - for standard input"
    )
    add("--mode", choices=MODES, help="full (default), ocr, layout or brief")
    add("--prompt", metavar="TEXT", help="ask your own question; the reply stands under 'answer'")
    add("--schema", metavar="FILE", type=Path, help="JSON Schema the answer must follow")
    add("--output", choices=("json", "pretty", "jsonl"), help="default: json, jsonl for several")
    add("--raw", action="store_true", help="keep the model's own words in meta.raw")
    add("--timeout", metavar="MS", type=positive_integer, help="stop an image after this long")
    add("--max-tokens", metavar="N", type=positive_integer, help="bound of each generated answer")
    add("--seed", metavar="N", type=int, help="sample with this seed instead of taking the best")
    add("--model", metavar="VERSION|DIR", help="4.6, 4.5, 4.0, 2.6 or a folder with a pair")
    add("--verify", action="store_true", help="read every byte of the model before loading it")
    add("--threads", metavar="N", type=positive_integer, default=0, help="default: physical cores")
    add("--gpu-layers", metavar="N|all", type=gpu_layers, default=-1, help="default: all")
    add("--max-image-mb", metavar="MB", type=positive_integer, default=50, help="default: 50")
    add_licence_arguments(parser)
    add("--max-dim", metavar="PX", type=positive_integer, default=30_000, help="default: 30000")


def run(args: argparse.Namespace) -> int:
    """Analyse every image; one failure does not lose the others."""
    sources = find_images(args.images)
    request = _request(args)
    # Imported here so that usage errors and --help never wait for numpy and httpx.
    from shimmy_vision import wiring
    from shimmy_vision.settings import read_settings

    order = wiring.VisionOrder(
        model=args.model,
        threads=args.threads,
        gpu_layers=args.gpu_layers,
        max_image_bytes=args.max_image_mb * 1_000_000,
        max_dimension=args.max_dim,
        request=request,
        verify=args.verify,
        licence=wiring.LicenceOrder(args.license, args.machine_id),
    )
    output = args.output or ("jsonl" if len(sources) > 1 else "json")
    with Interrupts() as interrupts, wiring.vision(read_settings(), order) as analyse:
        return _Session(analyse, args, request, output, interrupts).run(sources)


class _Session:
    def __init__(
        self,
        analyse: Any,
        args: argparse.Namespace,
        request: AnalysisRequest,
        output: str,
        interrupts: Interrupts,
    ) -> None:
        self._interrupts = interrupts
        self._analyse = analyse
        self._args = args
        self._request = request
        self._output = output

    def run(self, sources: Sequence[ImageSource]) -> int:
        failed: list[ShimmyError] = []
        for number, source in enumerate(sources, 1):
            try:
                result = self._one(source, f"{number}/{len(sources)} {source.name}")
            except StoppedError as error:
                failed.append(error)
                self._failure(source, error)
                if exit_code(error) == INTERRUPTED:
                    break
            except ShimmyError as error:
                failed.append(error)
                self._failure(source, error)
                if concerns_every_image(error):
                    return exit_code(error)
            else:
                self._success(source, result)
        return _verdict(failed, len(sources))

    def _one(self, source: ImageSource, label: str) -> dict[str, Any]:
        from shimmy_vision.cli.progress_bar import ProgressBar

        data = source.read(self._args.max_image_mb * 1_000_000)
        timeout = self._args.timeout / 1000 if self._args.timeout else None
        with closing(ProgressBar(label)) as bar:
            result: dict[str, Any] = supervise(
                lambda switch: self._analyse(data, self._request, switch, bar.show),
                self._interrupts,
                timeout=timeout,
            )
        return result

    def _success(self, source: ImageSource, result: dict[str, Any]) -> None:
        if self._output == "jsonl":
            _write({"image": source.name, "result": result}, pretty=False)
        else:
            _write(result, pretty=self._output == "pretty")

    def _failure(self, source: ImageSource, error: ShimmyError) -> None:
        from shimmy_vision.cli.main import print_error

        print_error(error, about="" if concerns_every_image(error) else source.name)
        if self._output == "jsonl":
            fields = {"code": error.code, "message": error.message, "hint": error.hint}
            _write({"image": source.name, "error": fields}, pretty=False)


def _verdict(failed: Sequence[ShimmyError], images: int) -> int:
    if not failed:
        return OK
    codes = {exit_code(error) for error in failed}
    if INTERRUPTED in codes:
        return INTERRUPTED
    return codes.pop() if images == 1 else SOME_FAILED


def _write(value: dict[str, Any], *, pretty: bool) -> None:
    text = (
        json.dumps(value, ensure_ascii=False, indent=2)
        if pretty
        else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    )
    try:
        sys.stdout.buffer.write(text.encode() + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(
            "output-not-written",
            f"The result could not be written: {error.strerror or error}",
            hint="Free disk space or write elsewhere.",
        ) from error


def _request(args: argparse.Namespace) -> AnalysisRequest:
    limits = AnswerLimits(max_tokens=args.max_tokens, seed=args.seed)
    return AnalysisRequest(_question(args), limits, raw=args.raw)


def _question(args: argparse.Namespace) -> Question:
    if args.prompt is None and args.schema is None:
        return StandardQuestion(args.mode or "full")
    if args.mode is not None:
        raise UsageError(
            "mode-with-question",
            "--mode cannot be combined with --prompt or --schema.",
            hint="Leave out --mode: your own question replaces it.",
        )
    return CustomQuestion(args.prompt, None if args.schema is None else _schema(args.schema))


def _schema(path: Path) -> dict[str, Any]:
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError("schema-unreadable", f"{path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise SchemaError("schema-invalid", f"{path} is not JSON: {error}") from error
    if not isinstance(schema, dict):
        raise SchemaError(
            "schema-invalid", f"{path} holds a JSON {type(schema).__name__}, not an object."
        )
    return schema
