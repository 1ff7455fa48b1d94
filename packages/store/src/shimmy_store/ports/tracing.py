"""Spans of work for whoever collects traces; nobody does unless the operator says where."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol, TypeAlias

Fact: TypeAlias = str | int | float | bool
# What a span tells of: a request to us, one of ours to somebody else, or work between.
SpanKind: TypeAlias = Literal["answers", "asks", "works"]


class Span(Protocol):
    """Work under way."""

    def rename(self, name: str) -> None:
        """Once it is known what it is."""
        ...

    def note(self, facts: Mapping[str, Fact]) -> None:
        """Names of endpoints, codes, counts and ids of events; nothing of a customer."""
        ...

    def fail(self, code: str) -> None:
        """It did not end as it should have."""
        ...


class Tracer(Protocol):
    """For any task and thread."""

    def span(
        self, name: str, kind: SpanKind = "works", facts: Mapping[str, Fact] | None = None
    ) -> AbstractContextManager[Span]:
        """A span for as long as the block lasts, within the one that the block stands in.

        One that ``answers`` stands in none. An error that leaves the block is told by its code, or
        by its kind. Log lines of the block carry the id of its trace.
        """
        ...


class _Nothing:
    def rename(self, name: str) -> None:
        """Nobody hears it."""

    def note(self, facts: Mapping[str, Fact]) -> None:
        """Nobody hears it."""

    def fail(self, code: str) -> None:
        """Nobody hears it."""


class Untraced:
    """Where nobody collects traces."""

    def span(
        self,
        name: str,  # noqa: ARG002 - as the port has it
        kind: SpanKind = "works",  # noqa: ARG002 - as the port has it
        facts: Mapping[str, Fact] | None = None,  # noqa: ARG002 - as the port has it
    ) -> AbstractContextManager[Span]:
        """Nothing."""
        return nullcontext(_Nothing())
