"""What a server would answer with."""

from __future__ import annotations

from collections.abc import Callable

from shimmy_vision.domain.model.served_model import ServedModel
from shimmy_vision.errors import ModelError
from shimmy_vision.ports.engine_probe import EngineFiles


def list_served(locate: Callable[[], EngineFiles]) -> tuple[ServedModel, ...]:
    """The model that ``locate`` finds; nothing where it cannot be used."""
    try:
        return (ServedModel(locate().family),)
    except ModelError:
        return ()
