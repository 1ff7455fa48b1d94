"""Which models a payload is for."""

from __future__ import annotations

from collections.abc import Mapping

from shimmy_vision.domain.model.model_family import ModelFamily
from shimmy_vision.domain.model.model_identity import BUILT_AS
from shimmy_vision.domain.model.model_manifest import ModelPin
from shimmy_vision.domain.payload.manifest import PayloadModel


def models_to_list(pins: Mapping[ModelFamily, ModelPin]) -> tuple[PayloadModel, ...]:
    """What goes into the manifest of a payload that is built beside ``pins``."""
    return tuple(
        PayloadModel(
            family=pin.family,
            architecture=BUILT_AS[pin.family].architecture,
            projector=BUILT_AS[pin.family].projector,
            main_sha256=pin.main.sha256,
            projector_sha256=pin.projector.sha256,
        )
        for pin in pins.values()
    )


def is_listed(models: tuple[PayloadModel, ...], family: ModelFamily) -> bool:
    """Whether a payload was made for this family, as this package knows it."""
    built = BUILT_AS[family]
    return any(
        (one.family, one.architecture, one.projector)
        == (family, built.architecture, built.projector)
        for one in models
    )
