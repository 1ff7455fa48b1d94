"""``shimmy serve``: the HTTP API on this machine, its engine in a process of its own."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from shimmy_vision.cli.arguments import gpu_layers, positive_integer
from shimmy_vision.cli.exit_codes import OK
from shimmy_vision.errors import UsageError

if TYPE_CHECKING:
    from shimmy_vision.server.app_state import ServerOptions
    from shimmy_vision.settings import Settings

PORT = 8750
# Nothing waits at a proxy for longer between being sent and being in the line.
_LEAVE_SECONDS = 1.0
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = "API keys: SHIMMY_API_KEYS or --api-key-file. The API: http://HOST:PORT/docs"
    _add_places(parser)
    _add_limits(parser)
    _add_engine(parser)


def _add_places(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="default 127.0.0.1; others want an API key")
    add("--port", type=int, default=PORT, help=f"default {PORT}; 0 takes any that is free")
    add("--api-key-file", type=Path, metavar="FILE", help="API keys, one a line")
    add("--allow-host", action="append", default=[], metavar="NAME", help="a name it is asked by")
    add(
        "--cors-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="web pages that may ask, like https://app.example; default: none",
    )
    add("--host-tag", metavar="TAG", help="this host's, before the ids of its jobs; see deploy.md")
    add("--no-socket", action="store_true", help="no Unix socket for `shimmy vision`")
    add("--drain-seconds", type=positive_integer, default=30, help="for work at a stop; default 30")


def _add_limits(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--queue", type=positive_integer, default=64, metavar="N", help="may wait; default 64")
    add(
        "--max-held-mb", type=positive_integer, default=1000, help="of waiting images; default 1000"
    )
    add("--max-image-mb", metavar="MB", type=positive_integer, default=50, help="default: 50")
    add("--max-pdf-mb", metavar="MB", type=positive_integer, default=200, help="default: 200")
    add("--max-dim", metavar="PX", type=positive_integer, default=30_000, help="default: 30000")
    add(
        "--max-seconds",
        metavar="S",
        type=positive_integer,
        default=600,
        help="that an image, a page or a web page is worked on; default 600",
    )
    add("--max-tokens", metavar="N", type=positive_integer, default=4096, help="default: 4096")


def _add_engine(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", metavar="VERSION|DIR", help="4.6, 4.5, 4.0, 2.6 or a folder with a pair")
    add("--threads", metavar="N", type=positive_integer, default=0, help="default: physical cores")
    add("--gpu-layers", metavar="N|all", type=gpu_layers, default=-1, help="default: all")
    add("--parallel", metavar="N", type=positive_integer, default=4, help="answers at once; 4")
    add("--preload", action="store_true", help="load the model before the first request")
    add("--idle-minutes", type=float, default=0, metavar="N", help="unload after; 0: never")
    add("--cache-mb", type=int, default=512, metavar="MB", help="images, states, results; 512")
    add("--verify", action="store_true", help="read every byte of the model before loading it")


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; work under way is finished."""
    from shimmy_vision.cli.listening import Places, serve_app
    from shimmy_vision.domain.answer.analysis_request import AnalysisRequest, AnswerLimits
    from shimmy_vision.ports.cache_limits import split_cache
    from shimmy_vision.ports.vision_order import VisionOrder
    from shimmy_vision.server.app import create_app
    from shimmy_vision.server.callbacks import Callbacks
    from shimmy_vision.server.logs import start_logging
    from shimmy_vision.settings import read_settings
    from shimmy_vision.wiring.serving import open_serving
    from shimmy_vision.wiring.tracing import open_tracer

    settings = read_settings()
    options = _options(args, settings)
    order = VisionOrder(
        model=args.model,
        threads=args.threads,
        gpu_layers=args.gpu_layers,
        max_image_bytes=options.limits.max_image_bytes,
        max_dimension=args.max_dim,
        request=AnalysisRequest(limits=AnswerLimits(args.max_tokens)),
        verify=args.verify,
        max_document_bytes=options.limits.max_document_bytes,
        sequences=args.parallel,
        caches=split_cache(args.cache_mb * 1_000_000),
        idle_seconds=args.idle_minutes * 60 or None,
    )
    socket = None if args.no_socket else settings.local_socket
    # What is opened before anything listens may have something to tell, too.
    start_logging()
    with (
        open_serving(settings, order, options.slots) as parts,
        open_tracer(settings) as tracer,
    ):
        app = create_app(
            parts.analyst,
            options,
            parts.check_ready,
            list_models=parts.list_models,
            callbacks=Callbacks(parts.post, settings.callback_secret),
            licences=parts.licences,
            tracer=tracer,
        )
        places = Places(args.host, args.port, socket)
        longest = options.rules.max_body
        serve_app(app, places, options.drain_seconds, longest_message=longest)
    return OK


def _options(args: argparse.Namespace, settings: Settings) -> ServerOptions:
    from shimmy_vision.server.app_state import LocalOffer, ServerOptions
    from shimmy_vision.server.guard import GuardRules, digest_key
    from shimmy_vision.server.orders import OrderLimits
    from shimmy_vision.settings import digest_settings
    from shimmy_vision.wiring.engines import describe_library

    keys = (*settings.api_keys, *_keys_in(args.api_key_file))
    if not keys and args.host not in _LOOPBACK:
        raise UsageError(
            "api-key-needed",
            f"On {args.host} others reach the server: it wants an API key.",
            hint="export SHIMMY_API_KEYS=$(openssl rand -hex 24)   or: --api-key-file FILE",
        )
    images, documents = args.max_image_mb * 1_000_000, args.max_pdf_mb * 1_000_000
    hosts = {*GuardRules().hosts, *(name.lower() for name in args.allow_host)}
    return ServerOptions(
        limits=OrderLimits(images, documents, args.max_tokens),
        rules=GuardRules(
            api_keys=tuple(map(digest_key, keys)),
            hosts=hosts,
            origins=tuple(args.cors_origin),
            # Base64 makes four bytes of three; the rest is for prompt and schema.
            max_body=max(images, documents) * 4 // 3 + 2_000_000,
        ),
        # While some are written others are decoded, measured and encoded.
        slots=2 * args.parallel,
        queue=args.queue,
        max_held_bytes=args.max_held_mb * 1_000_000,
        drain_seconds=args.drain_seconds,
        max_seconds=args.max_seconds,
        preload=args.preload,
        host_tag=_host_tag(args.host_tag),
        leave_seconds=_LEAVE_SECONDS if args.host_tag else 0.0,
        local=LocalOffer(digest_settings(settings), args.model, args.max_dim),
        library=describe_library(settings.library_directory),
    )


def _host_tag(given: str | None) -> str | None:
    from shimmy_vision.domain.serving.job_names import is_host_tag

    if given is not None and not is_host_tag(given):
        raise UsageError(
            "host-tag-malformed",
            f"--host-tag {given!r} has to be small letters, digits and hyphens, up to 32.",
            hint="Like: --host-tag a",
        )
    return given


def _keys_in(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise UsageError("api-keys-unreadable", f"{path} cannot be read.") from error
    keys = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    if not keys:
        raise UsageError("api-keys-missing", f"{path} holds no API key.", hint="One key a line.")
    return keys
