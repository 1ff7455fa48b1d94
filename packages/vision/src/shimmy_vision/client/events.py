"""What a stream tells while the server works, as typed events."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from shimmy_vision.client.failures import ApiError
from shimmy_vision.client.results import Result


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` of ``total`` steps of ``stage``; ``total`` 0 and ``percent`` None: not known.

    Stages: fetch, decode, measure, load, encode, prompt, generate. Of a document also the ``page``
    that is worked on, and ``pages_done`` of its ``pages``.
    """

    stage: str
    done: int
    total: int
    percent: float | None
    page: int | None = None
    pages_done: int | None = None
    pages: int | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """``text`` goes on with the model's answer number ``answer`` about the image or ``page``."""

    answer: int
    text: str
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Restarted:
    """The engine had to begin again: what was written since the last page is void."""


@dataclass(frozen=True, slots=True)
class Page:
    """A document's page ``page``, counted from 1: its result, or the error of it alone."""

    page: int
    result: Result | None
    error: ApiError | None


@dataclass(frozen=True, slots=True)
class Done:
    """The last event; ``result`` is None after a document, whose pages came before."""

    result: Result | None


Event: TypeAlias = Progress | Written | Restarted | Page | Done


def read_events(told: Iterable[tuple[str, str]]) -> Iterator[Event]:
    """Those whose names are known; a later server may have more. Raises ApiError for ``error``."""
    for name, text in told:
        event = _read(name, text)
        if event is not None:
            yield event


def document_page(event: Event) -> Page | None:
    """The page that an event tells of, if it does; an image's result is page 1."""
    match event:
        case Page():
            return event
        case Done(result=result) if result is not None:
            return Page(1, result, None)
        case _:
            return None


def _read(name: str, text: str) -> Event | None:
    data = json.loads(text)
    match name:
        case "progress":
            return _progress(data)
        case "written":
            return Written(data["answer"], data["text"], data.get("page"))
        case "restarted":
            return Restarted()
        case "page":
            return _page(data)
        case "result":
            return Done(data)
        case "done":
            return Done(None)
        case "error":
            raise ApiError.of_record(data.get("error"))
        case _:
            return None


def _page(data: Mapping[str, Any]) -> Page:
    error = data.get("error")
    return Page(
        data["page"], data.get("result"), None if error is None else ApiError.of_record(error)
    )


def _progress(data: Mapping[str, Any]) -> Progress:
    return Progress(
        data.get("stage", ""),
        data.get("done", 0),
        data.get("total", 0),
        data.get("percent"),
        data.get("page"),
        data.get("pages_done"),
        data.get("pages"),
    )
