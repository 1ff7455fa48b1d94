"""From a model choice to a loaded engine: find the files, check, probe, load."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shimmy_vision.domain.licence.access import Granted
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine import Engine
from shimmy_vision.ports.engine_opener import EngineOpener
from shimmy_vision.ports.engine_probe import EngineFiles, EngineOptions, EngineProbe


@dataclass(frozen=True, slots=True)
class EngineParts:
    """``locate`` finds and checks the files; nothing is mapped before it returns."""

    locate: Callable[[], EngineFiles]
    probe: EngineProbe
    opener: EngineOpener
    options: EngineOptions


def open_engine(_granted: Granted, parts: EngineParts, cancellation: Cancellation) -> Engine:
    """Open the engine; ``_granted`` is the proof that the licence gate was passed.

    Raises ModelError or LibraryError with cause and remedy; StoppedError if
    cancelled between the steps.
    """
    files = parts.locate()
    cancellation.check()
    options = parts.probe.probe(files, parts.options, cancellation)
    cancellation.check()
    return parts.opener.open(files, options)
