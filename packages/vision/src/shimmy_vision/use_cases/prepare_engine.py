"""Have the model in memory and warm before the first job comes."""

from __future__ import annotations

from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine import EngineSource
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.use_cases.exercise_engine import exercise_engine
from shimmy_vision.use_cases.pass_gate import pass_gate


def prepare_engine(licensing: Licensing, engines: EngineSource, cancellation: Cancellation) -> None:
    """Pass the gate, open the engine and run it once.

    Raises LicenceError, ModelError, LibraryError or StoppedError.
    """
    granted = pass_gate(licensing)
    cancellation.check()
    with engines.use(granted, cancellation) as engine:
        cancellation.check()
        exercise_engine(engine, cancellation)
