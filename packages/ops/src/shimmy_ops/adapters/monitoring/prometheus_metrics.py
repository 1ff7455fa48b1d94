"""The ``ScrapeReader`` port on Prometheus' own parser."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from shimmy_ops.domain.monitoring.store_metrics import Metric, Scrape, read_scrape
from shimmy_ops.errors import DeskError


class PrometheusMetrics:
    """The text format, as the store writes it."""

    def read(self, text: str) -> Scrape:
        try:
            return read_scrape(
                Metric(sample.name, sample.labels, float(sample.value))
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            )
        except (ValueError, KeyError, IndexError) as error:
            raise DeskError(
                "metrics-malformed",
                "What answers at /metrics is not in Prometheus' format.",
                hint="Check store_url in the profile.",
            ) from error
