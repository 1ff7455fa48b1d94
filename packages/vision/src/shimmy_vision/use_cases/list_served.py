"""What a server would answer with."""

from __future__ import annotations

from collections.abc import Callable

from shimmy_vision.domain.model.served_model import ServedModel
from shimmy_vision.errors import LibraryError, ModelError
from shimmy_vision.ports.serving import HasFamily


def list_served(locate: Callable[[], HasFamily]) -> tuple[ServedModel, ...]:
    """The model that ``locate`` finds; nothing where it cannot be used."""
    try:
        return (ServedModel(locate().family),)
    except (ModelError, LibraryError):
        return ()
