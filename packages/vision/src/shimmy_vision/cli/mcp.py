"""``shimmy mcp``: tools for AI agents, over the Model Context Protocol on standard input."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from shimmy_vision.cli.arguments import add_licence_arguments, gpu_layers, positive_integer
from shimmy_vision.cli.exit_codes import OK
from shimmy_vision.errors import LibraryError

if TYPE_CHECKING:
    from mcp.server import MCPServer

    from shimmy_vision.ports.analyst import Analyst
    from shimmy_vision.server.orders import OrderLimits

# An agent rarely asks for more at once, and each needs memory of its own.
_JOBS = 2
# What an agent asks about, it asks about again.
_CACHE_BYTES = 256_000_000
_TOKENS = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = (
        'An agent starts it by itself: {"mcpServers": {"shimmy": {"command": "shimmy", "args": '
        '["mcp"]}}}'
    )
    add = parser.add_argument
    add("--model", metavar="VERSION|DIR", help="4.6, 4.5, 4.0, 2.6 or a folder with a pair")
    add("--threads", metavar="N", type=positive_integer, default=0, help="default: physical cores")
    add("--gpu-layers", metavar="N|all", type=gpu_layers, default=-1, help="default: all")
    add("--max-image-mb", metavar="MB", type=positive_integer, default=50, help="default: 50")
    add("--max-pdf-mb", metavar="MB", type=positive_integer, default=200, help="default: 200")
    add("--max-dim", metavar="PX", type=positive_integer, default=30_000, help="default: 30000")
    add_licence_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Serve the agent until it closes standard input. The model loads when it is first needed."""
    # First, so that what is missing is told before anything is started.
    create = _import_tools()

    import anyio

    from shimmy_vision.domain.answer.analysis_request import AnalysisRequest, AnswerLimits
    from shimmy_vision.ports.cache_limits import split_cache
    from shimmy_vision.ports.vision_order import LicenceOrder, VisionOrder
    from shimmy_vision.server.orders import OrderLimits
    from shimmy_vision.settings import read_settings
    from shimmy_vision.wiring.serving import open_analyst

    limits = OrderLimits(args.max_image_mb * 1_000_000, args.max_pdf_mb * 1_000_000, _TOKENS)
    order = VisionOrder(
        model=args.model,
        threads=args.threads,
        gpu_layers=args.gpu_layers,
        max_image_bytes=limits.max_image_bytes,
        max_dimension=args.max_dim,
        request=AnalysisRequest(limits=AnswerLimits(_TOKENS)),
        licence=LicenceOrder(args.license, args.machine_id),
        max_document_bytes=limits.max_document_bytes,
        sequences=_JOBS,
        caches=split_cache(_CACHE_BYTES),
    )
    with open_analyst(read_settings(), order, _JOBS) as analyst:
        anyio.run(create(analyst, limits, _JOBS).run_stdio_async)
    return OK


def _import_tools() -> Callable[[Analyst, OrderLimits, int], MCPServer]:
    try:
        from shimmy_vision.cli.mcp_tools import create_mcp_server
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("mcp", "mcp_types"):
            raise
        raise LibraryError(
            "mcp-missing",
            "The MCP SDK is not installed, or not in a version that fits.",
            hint="pip install 'shimmy-vision[mcp]'",
        ) from error
    return create_mcp_server
