"""What the HTTP server works with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from shimmy_vision.domain.model.model_family import ModelFamily
from shimmy_vision.domain.model.served_model import ServedModel
from shimmy_vision.ports.analyst import Analyst
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.ports.web_post import WebPost


class HasFamily(Protocol):
    """A model that was found: its files here, or what is served elsewhere."""

    @property
    def family(self) -> ModelFamily:
        """Its version."""
        ...


@dataclass(frozen=True, slots=True)
class Serving:
    """``check_ready`` raises what the next analysis would be refused with, as far as is known.

    ``list_models`` gives what would be loaded, if it can be; ``licences`` opens a licensing for the
    thread that asks; ``post`` sends callbacks.
    """

    analyst: Analyst
    check_ready: Callable[[], None]
    list_models: Callable[[], Sequence[ServedModel]]
    licences: Callable[[], AbstractContextManager[Licensing]]
    post: WebPost
