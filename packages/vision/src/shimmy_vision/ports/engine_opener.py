"""Loading checked files into this process."""

from __future__ import annotations

from typing import Protocol

from shimmy_vision.ports.engine import Engine
from shimmy_vision.ports.engine_probe import EngineFiles, EngineOptions


class EngineOpener(Protocol):
    """Maps the weights and builds the encoder and the grammars."""

    def open(self, files: EngineFiles, options: EngineOptions) -> Engine:
        """Raises ModelError or LibraryError."""
        ...
