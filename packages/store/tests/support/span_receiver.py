"""A collector of traces on loopback: OTLP over HTTP, as OpenTelemetry's exporters speak it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Heard:
    """A span as it came."""

    name: str
    facts: dict[str, Any]
    trace: str
    span: str
    parent: str
    error: str


@dataclass
class SpanReceiver:
    """``url`` is what OTEL_EXPORTER_OTLP_ENDPOINT names; ``text`` all that came, as text."""

    url: str
    service: str = ""
    text: str = ""
    spans: list[Heard] = field(default_factory=list)

    def one(self, name: str) -> Heard:
        """The only span of this name."""
        (found,) = [one for one in self.spans if one.name == name]
        return found

    def hear(self, body: bytes) -> None:
        """What one request brought."""
        read = ExportTraceServiceRequest.FromString(body)
        self.text += str(read)
        for resource in read.resource_spans:
            self.service = str(_facts(resource.resource.attributes)["service.name"])
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        Heard(
                            span.name,
                            _facts(span.attributes),
                            span.trace_id.hex(),
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            span.status.message,
                        )
                    )


def _facts(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in attributes}


@contextmanager
def receiving_spans() -> Iterator[SpanReceiver]:
    """One that answers until the block ends."""
    receiver = SpanReceiver("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            receiver.hear(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing of it is of interest."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
