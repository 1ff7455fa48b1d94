"""Spans of work for whoever collects traces; nobody does unless the operator says where."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeAlias

Fact: TypeAlias = str | int | float | bool


class Span(Protocol):
    """Work under way; for any thread."""

    def rename(self, name: str) -> None:
        """Once it is known what it is."""
        ...

    def note(self, facts: Mapping[str, Fact]) -> None:
        """Names of endpoints and stages, codes and counts; nothing of what was sent."""
        ...

    def fail(self, code: str) -> None:
        """It did not end as it should have."""
        ...

    def begin(self, name: str, facts: Mapping[str, Fact] | None = None) -> Span:
        """Work within this one, on whatever thread, until ``end``."""
        ...

    def end(self) -> None:
        """For what was begun by ``begin``."""
        ...


class Tracer(Protocol):
    """For any task and thread."""

    def answer(self, name: str, traceparent: str) -> AbstractContextManager[Span]:
        """A request, for as long as the block lasts, within the client's span if that tells of one

        (W3C Trace Context). Log lines of the block carry the id of its trace.
        """
        ...

    def span(
        self, name: str, facts: Mapping[str, Fact] | None = None
    ) -> AbstractContextManager[Span]:
        """A span for as long as the block lasts, within the one that the block stands in.

        An error that leaves the block is told by its code, or by its kind.
        """
        ...


class _Nothing:
    def rename(self, name: str) -> None:
        """Nobody hears it."""

    def note(self, facts: Mapping[str, Fact]) -> None:
        """Nobody hears it."""

    def fail(self, code: str) -> None:
        """Nobody hears it."""

    def begin(self, name: str, facts: Mapping[str, Fact] | None = None) -> Span:  # noqa: ARG002 - as the port has it
        """Nobody hears it."""
        return self

    def end(self) -> None:
        """Nobody hears it."""


class Untraced:
    """Where nobody collects traces."""

    def answer(self, name: str, traceparent: str) -> AbstractContextManager[Span]:  # noqa: ARG002 - as the port has it
        """Nothing."""
        return nullcontext(_Nothing())

    def span(
        self,
        name: str,  # noqa: ARG002 - as the port has it
        facts: Mapping[str, Fact] | None = None,  # noqa: ARG002 - as the port has it
    ) -> AbstractContextManager[Span]:
        """Nothing."""
        return nullcontext(_Nothing())
