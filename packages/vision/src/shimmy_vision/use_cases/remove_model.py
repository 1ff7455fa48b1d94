"""Delete an installed version."""

from __future__ import annotations

from collections.abc import Callable

from shimmy_vision.domain.model.model_manifest import ModelPin
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.model_store import ModelStore


def remove_model(
    pin: ModelPin,
    store: ModelStore,
    cancellation: Cancellation,
    on_wait: Callable[[], None] = lambda: None,
) -> int:
    """Bytes freed; parts of unfinished downloads go too."""
    with store.lock(pin, cancellation, on_wait):
        return store.remove(pin)
