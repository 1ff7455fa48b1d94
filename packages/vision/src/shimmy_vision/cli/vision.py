"""``shimmy vision``: images, PDFs and web pages in, JSON out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shimmy_vision.cli.arguments import (
    add_licence_arguments,
    gpu_layers,
    positive_integer,
    viewport,
)
from shimmy_vision.cli.image_sources import find_sources
from shimmy_vision.cli.supervise import Interrupts
from shimmy_vision.domain.answer.analysis_request import (
    MODES,
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
    add("--mode", choices=MODES, help="full (default), ocr, layout or brief")
    add("--prompt", metavar="TEXT", help="ask your own question; the reply stands under 'answer'")
    add("--schema", metavar="FILE", type=Path, help="JSON Schema the answer must follow")
    add("--pages", metavar="RANGES", help="of PDFs, like 1-3,7,10-; default: every page")
    add("--dpi", metavar="N", type=positive_integer, help="of PDFs; default: what text needs")
    add(
        "--output",
        choices=("json", "pretty", "jsonl"),
        help="default: json for one image or page, jsonl for several and for PDFs",
    )
    add("--raw", action="store_true", help="keep the model's own words in meta.raw")
    add("--all-slices", action="store_true", help="look at every slice, also at blank ones")
    add(
        "--timeout", metavar="MS", type=positive_integer, help="stop an image or page after so long"
    )
    add("--max-tokens", metavar="N", type=positive_integer, help="bound of each generated answer")
    add("--seed", metavar="N", type=int, help="sample with this seed instead of taking the best")
    add("--model", metavar="VERSION|DIR", help="4.6, 4.5, 4.0, 2.6 or a folder with a pair")
    add("--verify", action="store_true", help="read every byte of the model before loading it")
    add("--no-server", action="store_true", help="do not use a running shimmy serve")
    add("--threads", metavar="N", type=positive_integer, default=0, help="default: physical cores")
    add("--gpu-layers", metavar="N|all", type=gpu_layers, default=-1, help="default: all")
    add("--max-image-mb", metavar="MB", type=positive_integer, default=50, help="default: 50")
    add("--max-pdf-mb", metavar="MB", type=positive_integer, default=200, help="default: 200")
    add_licence_arguments(parser)
    add("--max-dim", metavar="PX", type=positive_integer, default=30_000, help="default: 30000")


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
