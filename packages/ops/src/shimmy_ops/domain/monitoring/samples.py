"""One sample: a probe, what the store has counted so far, and what else was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from shimmy_ops.domain.monitoring.store_metrics import Scrape


@dataclass(frozen=True, slots=True)
class Books:
    """What Stripe and Keygen said; they are asked more seldom than samples are taken.

    ``drift`` and ``disputes`` (open ones) are ids; each is None where its source was not read.
    """

    read: str
    mrr: int | None = None
    active: int | None = None
    drift: tuple[str, ...] | None = None
    disputes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """What alerts are decided from, beside probes and counters. None: not known."""

    alarms: Mapping[str, int] | None = None
    endpoint: str | None = None
    undelivered_seconds: float | None = None
    backup_seconds: float | None = None
    unanswered_seconds: float | None = None
    books: Books | None = None
    unread: Mapping[str, str] = field(default_factory=dict)
    """Sources that could not be read, with the code of the error."""


@dataclass(frozen=True, slots=True)
class Sample:
    """``every`` is how often samples are taken, ``seconds`` how long the probe took.

    ``scrape`` is None where the store told nothing.
    """

    at: datetime
    every: float
    up: bool
    seconds: float
    scrape: Scrape | None = None
    findings: Findings = Findings()


def findings_document(findings: Findings) -> dict[str, Any]:
    """As JSON."""
    return asdict(findings)


def parse_findings(document: Mapping[str, Any]) -> Findings:
    """From JSON. Raises TypeError for another shape."""
    found = Findings(**document)
    if found.books is None:
        return found
    books = dict(found.books)  # type: ignore[call-overload]
    for name in ("drift", "disputes"):
        if books.get(name) is not None:
            books[name] = tuple(books[name])
    return replace(found, books=Books(**books))
