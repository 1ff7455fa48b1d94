"""Traces to a collector, where the operator names one and the extra is installed."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from shimmy_store import __version__
from shimmy_store.adapters.structlog_logger import logger_of
from shimmy_store.ports.tracing import Tracer, Untraced
from shimmy_store.settings import Settings


async def open_tracer(settings: Settings, stack: AsyncExitStack) -> Tracer:
    """Whoever has the extra missing is told, and served all the same."""
    if not settings.traced:
        return Untraced()
    try:
        # Only where it is asked for: it is an extra, and no Worker has it.
        from shimmy_store.adapters.otel_tracer import OtelTracer, open_exporter
    except ImportError:
        logger_of("shimmy_store.traces").warning(
            "traces-not-installed", hint="pip install 'shimmy-store[otel]'"
        )
        return Untraced()
    tracer = OtelTracer(open_exporter(), "shimmy-store", __version__)
    # It waits for the collector.
    stack.push_async_callback(asyncio.to_thread, tracer.close)
    return tracer
