"""Check an installed version, on demand down to every byte."""

from __future__ import annotations

from shimmy_vision.domain.model.model_manifest import ModelPin
from shimmy_vision.errors import ModelError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.model_files import ByteProgress, ModelFiles
from shimmy_vision.ports.model_store import ModelStore
from shimmy_vision.use_cases.check_model_files import (
    CheckedPair,
    CheckOptions,
    ModelPair,
    check_model_files,
)


def verify_model(
    pin: ModelPin,
    store: ModelStore,
    files: ModelFiles,
    progress: ByteProgress,
    cancellation: Cancellation,
    *,
    rehash: bool = False,
) -> CheckedPair:
    """Raises ModelError model-not-installed or what ``check_model_files`` finds."""
    stored = [store.stored(pin, file) for file in pin.files]
    missing = [one.path.name for one in stored if not one.present]
    if missing:
        raise ModelError(
            "model-not-installed",
            f"MiniCPM-V {pin.family} is not installed: {' and '.join(missing)} missing.",
            hint=f"Install it: shimmy models pull {pin.family}",
        )
    pair = ModelPair(stored[0].path, stored[1].path, pin)
    return check_model_files(pair, files, CheckOptions(rehash=rehash), progress, cancellation)
