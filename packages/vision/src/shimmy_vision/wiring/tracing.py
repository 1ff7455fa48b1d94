"""Traces to a collector, where the operator names one and the extra is installed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager

from shimmy_vision import __version__
from shimmy_vision.ports.tracing import Tracer, Untraced
from shimmy_vision.settings import Settings


@contextmanager
def open_tracer(settings: Settings) -> Iterator[Tracer]:
    """Whoever has the extra missing is told, and served all the same."""
    if not settings.traced:
        yield Untraced()
        return
    try:
        # Only where it is asked for: it is an extra.
        from shimmy_vision.adapters.otel_tracer import OtelTracer, open_exporter
    except ImportError:
        _tell_missing()
        yield Untraced()
        return
    with closing(OtelTracer(open_exporter(), "shimmy-vision", __version__)) as tracer:
        yield tracer


def _tell_missing() -> None:
    fields = {"hint": "pip install 'shimmy-vision[otel]'"}
    logging.getLogger("shimmy_vision.traces").warning(
        "traces-not-installed", extra={"fields": fields}
    )
