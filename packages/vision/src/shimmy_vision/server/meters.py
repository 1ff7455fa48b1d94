"""What Prometheus may know: counts and times, never a key, an image or an address."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shimmy_vision import __version__
from shimmy_vision.ports.analyst import EngineStatus

_SECONDS = (0.005, 0.02, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 120, 300)


class Meters:
    """One set for each server, with a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "shimmy_requests",
            "Requests answered, by endpoint and status.",
            ("endpoint", "status"),
            registry=self._registry,
        )
        self.request_seconds = Histogram(
            "shimmy_request_seconds",
            "From a request's first byte to its answer's last.",
            ("endpoint",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.jobs = Counter(
            "shimmy_jobs",
            "Analyses ended, by kind and outcome: ok or the error's code.",
            ("kind", "outcome"),
            registry=self._registry,
        )
        self._job_seconds = Histogram(
            "shimmy_job_seconds",
            "From order to result, waiting included.",
            ("kind",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        build = Gauge("shimmy_build", "Always 1.", ("version",), registry=self._registry)
        build.labels(__version__).set(1)

    @contextmanager
    def time_job(self, kind: str) -> Iterator[None]:
        """Observe how long the block takes."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._job_seconds.labels(kind).observe(time.perf_counter() - began)

    def watch(self, name: str, what: str, read: Callable[[], float]) -> None:
        """A gauge that is read when it is asked for."""
        Gauge(f"shimmy_{name}", what, registry=self._registry).set_function(read)

    def watch_engine(self, read: Callable[[], EngineStatus]) -> None:
        """The engine's own counters and gauges."""
        self._registry.register(_EngineCollector(read))

    def exposition(self) -> bytes:
        """Prometheus's text format; may wait for the engine's answer for a moment."""
        return generate_latest(self._registry)


class _EngineCollector(Collector):
    def __init__(self, read: Callable[[], EngineStatus]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering asks no engine."""
        return ()

    def collect(self) -> Iterable[Metric]:
        status = self._read()
        for name, value in status.counters.items():
            yield CounterMetricFamily(f"shimmy_{name}", f"Engine: {_words(name)}.", value)
        for name, value in status.gauges.items():
            yield GaugeMetricFamily(f"shimmy_{name}", f"Engine: {_words(name)}.", value)
        running = 1.0 if status.running else 0.0
        yield GaugeMetricFamily("shimmy_engine_running", "Engine: its process runs.", running)
        loaded = 0.0 if status.model is None else 1.0
        yield GaugeMetricFamily("shimmy_model_loaded", "Engine: a model is in memory.", loaded)


def _words(name: str) -> str:
    return name.replace("_", " ")
