"""``shimmy vision``: images, PDFs and web pages in, JSON out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shimmy_vision.cli.arguments import (
    add_engine_arguments,
    add_licence_arguments,
    add_question_arguments,
    viewport,
)
from shimmy_vision.cli.image_sources import find_sources
from shimmy_vision.cli.supervise import Interrupts
from shimmy_vision.domain.answer.analysis_request import (
    AnalysisRequest,
    AnswerLimits,
    CustomQuestion,
    DocumentRequest,
    PageView,
    Question,
    StandardQuestion,
)
from shimmy_vision.domain.answer.page_ranges import EVERY_PAGE, parse_pages
from shimmy_vision.domain.web.viewport import check_viewport
from shimmy_vision.errors import SchemaError, UsageError

if TYPE_CHECKING:
    from shimmy_vision.cli.analysis_session import SessionOrder
    from shimmy_vision.cli.image_sources import Source
    from shimmy_vision.settings import Settings

_EPILOG = (
    "exit codes: 0 ok, 1 some failed, 2 licence, 3 model or library, 4 output, 5 timeout, 64 usage"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = _EPILOG
    add = parser.add_argument
    add(
        "images",
        nargs="*",
        metavar="IMAGE",
        help="image or PDF, 'pattern', folder or - for standard input",
    )
    _add_url_arguments(parser)
    add(
        "--output",
        choices=("json", "pretty", "jsonl"),
        help="default: json for one image or page, jsonl for several and for PDFs",
    )
    add_question_arguments(parser)
    add("--no-server", action="store_true", help="do not use a running shimmy serve")
    add_engine_arguments(parser)
    add_licence_arguments(parser)


def _add_url_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--url",
        metavar="URL",
        action="append",
        default=[],
        help="image, PDF or web page; may be given several times, after the files",
    )
    add(
        "--viewport",
        metavar="WxH",
        type=viewport,
        default=(1280, 800),
        help="of web pages, in CSS pixels; default: 1280x800",
    )
    add("--scale", metavar="N", type=float, default=1.0, help="pixels a CSS pixel; default: 1")
    how_much = parser.add_mutually_exclusive_group()
    how_much.add_argument(
        "--full-page", action="store_true", default=True, help="all of a web page (default)"
    )
    how_much.add_argument(
        "--viewport-only",
        dest="full_page",
        action="store_false",
        help="only what the viewport shows first",
    )


def run(args: argparse.Namespace) -> int:
    """Analyse every image and page; one failure does not lose the others."""
    sources = find_sources(args.images, args.url)
    request, view = read_request(args), _view(args)
    # Imported here so that usage errors and --help never wait for numpy and httpx.
    from shimmy_vision.cli.analysis_session import AnalysisSession, SessionOrder
    from shimmy_vision.cli.warm_server import find_server
    from shimmy_vision.settings import read_settings

    settings = read_settings()
    session = SessionOrder(
        request=request,
        view=view,
        output=args.output,
        timeout=args.timeout / 1000 if args.timeout else None,
        max_image_bytes=args.max_image_mb * 1_000_000,
        max_document_bytes=args.max_pdf_mb * 1_000_000,
    )
    server = find_server(settings, args, session.timeout)
    if server is not None:
        with Interrupts() as interrupts:
            return AnalysisSession(server, session, interrupts).run(sources)
    return _run_here(args, session, sources, settings)


def _run_here(
    args: argparse.Namespace, session: SessionOrder, sources: list[Source], settings: Settings
) -> int:
    """In this process, with a model of its own."""
    from shimmy_vision.cli.analysis_session import AnalysisSession
    from shimmy_vision.ports.cache_limits import ONE_RUN
    from shimmy_vision.ports.vision_order import LicenceOrder, VisionOrder
    from shimmy_vision.wiring.vision import open_vision

    order = VisionOrder(
        model=args.model,
        threads=args.threads,
        gpu_layers=args.gpu_layers,
        max_image_bytes=session.max_image_bytes,
        max_dimension=args.max_dim,
        request=session.request.analysis,
        verify=args.verify,
        licence=LicenceOrder(args.license, args.machine_id),
        max_document_bytes=session.max_document_bytes,
        caches=ONE_RUN,
    )
    with Interrupts() as interrupts, open_vision(settings, order) as vision:
        return AnalysisSession(vision, session, interrupts).run(sources)


def read_request(args: argparse.Namespace) -> DocumentRequest:
    """What is asked of each image. Raises UsageError or SchemaError."""
    limits = AnswerLimits(max_tokens=args.max_tokens, seed=args.seed)
    analysis = AnalysisRequest(
        _question(args), limits, raw=args.raw, slices="all" if args.all_slices else "auto"
    )
    pages = EVERY_PAGE if args.pages is None else parse_pages(args.pages)
    return DocumentRequest(analysis, pages, args.dpi)


def _view(args: argparse.Namespace) -> PageView:
    width, height = args.viewport
    refused = check_viewport(width, height, args.scale)
    if refused is not None:
        raise UsageError(
            "viewport-refused",
            f"The page cannot be seen: {refused.reason}.",
            hint="Choose other --viewport and --scale.",
        )
    return PageView(width, height, args.scale, args.full_page)


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
    except (ValueError, RecursionError) as error:
        raise SchemaError("schema-invalid", f"{path} is not JSON: {error}") from error
    if not isinstance(schema, dict):
        raise SchemaError(
            "schema-invalid", f"{path} holds a JSON {type(schema).__name__}, not an object."
        )
    return schema
