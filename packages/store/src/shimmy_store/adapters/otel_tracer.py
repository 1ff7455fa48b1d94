"""The ``Tracer`` port over OpenTelemetry's SDK, an extra of the store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span as TheirSpan
from opentelemetry.trace import SpanKind as TheirKind
from opentelemetry.trace import Status, StatusCode, format_trace_id
from structlog.contextvars import bound_contextvars

from shimmy_store.adapters.structlog_logger import logger_of
from shimmy_store.domain.private_words import is_event_id, show_id
from shimmy_store.errors import StoreError
from shimmy_store.ports.tracing import Fact, Span, SpanKind

_LOG = logger_of("shimmy_store.traces")
_CLOSING_SECONDS = 3.0
_KINDS: Mapping[SpanKind, TheirKind] = {
    "answers": TheirKind.SERVER,
    "asks": TheirKind.CLIENT,
    "works": TheirKind.INTERNAL,
}
_OURS = "shimmy."
_EVENTS = "shimmy.event_ids"


class OtelTracer:
    """See ``ports.tracing``. Every text passes the rules of the log before it is noted."""

    def __init__(self, exporter: SpanExporter, service: str, version: str) -> None:
        self._provider = TracerProvider(
            resource=_resource(service, version), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(_Watched(exporter)))
        # Not set for the whole process: whoever else uses OpenTelemetry in it has its own.
        self._tracer = self._provider.get_tracer(service, version)

    @contextmanager
    def span(
        self, name: str, kind: SpanKind = "works", facts: Mapping[str, Fact] | None = None
    ) -> Iterator[Span]:
        started = self._tracer.start_as_current_span(
            name,
            # A visitor's own trace is none of ours, nor is the last request of a connection.
            context=Context() if kind == "answers" else None,
            kind=_KINDS[kind],
            # Their words may name what must not be named.
            record_exception=False,
            set_status_on_exception=False,
        )
        with started as theirs, bound_contextvars(trace_id=_trace_of(theirs)):
            span = _OtelSpan(theirs)
            span.note(facts or {})
            try:
                yield span
            except (asyncio.CancelledError, GeneratorExit):
                span.fail("cancelled")
                raise
            except Exception as error:
                span.fail(error.code if isinstance(error, StoreError) else type(error).__name__)
                raise

    def close(self) -> None:
        """Send what is left, for a few seconds at most; blocks meanwhile."""
        # It would wait ten for a collector that is silent, and nobody's stop is as patient.
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(_CLOSING_SECONDS)


class _OtelSpan:
    def __init__(self, theirs: TheirSpan) -> None:
        self._theirs = theirs

    def rename(self, name: str) -> None:
        """See the port."""
        self._theirs.update_name(name)

    def note(self, facts: Mapping[str, Fact]) -> None:
        """See the port."""
        for name, value in facts.items():
            self._theirs.set_attribute(name, _shown(name, value))

    def fail(self, code: str) -> None:
        """See the port."""
        self._theirs.set_attribute("error.type", code)
        self._theirs.set_status(Status(StatusCode.ERROR, code))


class _Watched(SpanExporter):
    """Tells that spans were lost, without the collector's address and answer."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        failing = result is not SpanExportResult.SUCCESS
        if failing and not self._failing:
            _LOG.warning("traces-not-sent", spans=len(spans))
        if self._failing and not failing:
            _LOG.info("traces-sent-again")
        self._failing = failing
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def open_exporter() -> SpanExporter:
    """To the collector that the standard variables name; they say how, too."""
    return OTLPSpanExporter()


def _resource(service: str, version: str) -> Resource:
    found = Resource.create({"service.version": version})
    named = str(found.attributes.get(SERVICE_NAME, ""))
    # What the operator calls it goes first.
    if named and not named.startswith("unknown_service"):
        return found
    return found.merge(Resource({SERVICE_NAME: service}))


def _trace_of(span: TheirSpan) -> str:
    return format_trace_id(span.get_span_context().trace_id)


def _shown(name: str, value: Fact) -> Fact:
    if not isinstance(value, str):
        return value
    if name == _EVENTS:
        return " ".join(one for one in value.split() if is_event_id(one))
    return show_id(name.removeprefix(_OURS), value)
