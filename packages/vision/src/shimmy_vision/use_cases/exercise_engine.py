"""One round through everything an analysis asks of a loaded model."""

from __future__ import annotations

import numpy as np

from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine import AnyEngine, RemoteEngine


def exercise_engine(engine: AnyEngine, cancellation: Cancellation) -> None:
    """Read a blank image of several slices and decode one token.

    Slices of more than one shape: some malformed projectors only crash on the second. Raises
    LibraryError or StoppedError.
    """
    if isinstance(engine, RemoteEngine):
        # It was heard when it was opened, and others use it.
        return
    side = engine.encoder.grid.slice_size
    blank = np.full((side // 2, side + 1, 3), 255, dtype=np.uint8)
    engine.encoder.encode(blank, on_slice=lambda _done, _all: None, cancellation=cancellation)
    with engine.sequence(cancellation) as model:
        model.reset()
        model.evaluate_tokens(model.tokenize("x", special=False), cancellation)
        model.logits()
