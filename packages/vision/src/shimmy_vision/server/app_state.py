"""Everything that the endpoints share, built once for each server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

from fastapi import Depends, Request

from shimmy_vision.domain.model.served_model import ServedModel
from shimmy_vision.errors import ShimmyError
from shimmy_vision.ports.analyst import Analyst
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.ports.tracing import Tracer
from shimmy_vision.server.callbacks import Callbacks
from shimmy_vision.server.ending import Ending
from shimmy_vision.server.guard import GuardRules
from shimmy_vision.server.jobs import JobLimits, Jobs
from shimmy_vision.server.meters import Meters
from shimmy_vision.server.orders import OrderLimits
from shimmy_vision.server.runs import Runs
from shimmy_vision.server.waiting_line import Baggage, WaitingLine

# Under this name the lifespan's state has the app's, for the protocols before it.
STATE = "shimmy"

OpenLicences: TypeAlias = Callable[[], AbstractContextManager[Licensing]]


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """``slots`` jobs at once, ``queue`` more may wait, with ``max_held_bytes`` of images together.

    ``drain_seconds`` is what a stop waits for work under way, ``max_seconds`` the longest time

    that one image, page of a document or web page is worked on. ``host_tag`` names this server
    among several at one address, whose proxy goes elsewhere at a stop: what had reached this one
    by then is taken for ``leave_seconds`` more. ``library`` says who answers for
    the native library.
    """

    limits: OrderLimits = field(default_factory=OrderLimits)
    rules: GuardRules = field(default_factory=GuardRules)
    slots: int = 4
    queue: int = 64
    max_held_bytes: int = 1_000_000_000
    drain_seconds: float = 30.0
    max_seconds: float = 600.0
    preload: bool = False
    jobs: JobLimits = field(default_factory=JobLimits)
    local: LocalOffer | None = None
    host_tag: str | None = None
    leave_seconds: float = 0.0
    library: str = ""


@dataclass(frozen=True, slots=True)
class LocalOffer:
    """What this server was started with: ``settings`` is their digest, ``model`` the wish."""

    settings: str
    model: str | None
    max_dimension: int


@dataclass(frozen=True, slots=True)
class AppState:
    """``check_ready`` raises what would refuse or fail the next analysis, as far as that is known

    without doing it; it may read files. ``list_models`` gives the installed models that the engine

    may load; it may read files too. ``licences`` may be opened on any thread, for use on that
    thread only; ``refreshing`` is held by whoever asks the licence server.
    """

    analyst: Analyst
    options: ServerOptions
    check_ready: Callable[[], None]
    meters: Meters
    line: WaitingLine
    baggage: Baggage
    runs: Runs
    list_models: Callable[[], Sequence[ServedModel]]
    jobs: Jobs
    licences: OpenLicences | None
    ending: Ending
    tracer: Tracer
    refreshing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))


def open_state(
    analyst: Analyst,
    options: ServerOptions,
    check_ready: Callable[[], None],
    list_models: Callable[[], Sequence[ServedModel]],
    tracer: Tracer,
    *,
    callbacks: Callbacks | None = None,
    licences: OpenLicences | None = None,
) -> AppState:
    """On the event loop that will serve."""
    meters = Meters()
    line = WaitingLine(options.slots, options.queue)
    baggage = Baggage(options.max_held_bytes)
    runs = Runs(analyst, line, meters, options.max_seconds, tracer)
    meters.watch("line_busy", "Analyses under way.", lambda: line.busy)
    meters.watch("line_waiting", "Analyses that wait for a slot.", lambda: line.waiting)
    meters.watch("held_bytes", "Bytes of images and documents in memory.", lambda: baggage.held)
    jobs = Jobs(options.jobs, callbacks, options.host_tag)
    meters.watch("jobs_kept", "Asynchronous jobs that can be fetched.", lambda: len(jobs))
    meters.watch("jobs_held_bytes", "Bytes of these jobs' results.", lambda: jobs.held)
    meters.watch_engine(analyst.status)
    return AppState(
        analyst,
        options,
        check_ready,
        meters,
        line,
        baggage,
        runs,
        list_models,
        jobs,
        licences,
        Ending(line, runs, options.drain_seconds),
        tracer,
    )


def state_of(request: Request) -> AppState:
    """The state of the app that was asked."""
    state: AppState = request.app.state.shimmy
    return state


StateOf = Annotated[AppState, Depends(state_of)]


def refusal_of(state: AppState) -> ShimmyError | None:
    """What ``check_ready`` raises; to be called on a thread of its own."""
    try:
        state.check_ready()
    except ShimmyError as error:
        return error
    return None
