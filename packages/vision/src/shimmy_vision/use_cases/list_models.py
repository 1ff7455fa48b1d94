"""Every pinned version and what of it is on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from shimmy_vision.domain.model.model_manifest import ModelPin
from shimmy_vision.ports.model_store import ModelStore

ModelState: TypeAlias = Literal["installed", "partial", "not installed"]


@dataclass(frozen=True, slots=True)
class ListedModel:
    """``bytes_present`` counts whole files and parts."""

    pin: ModelPin
    state: ModelState
    bytes_present: int
    folder: Path


def list_models(pins: Iterable[ModelPin], store: ModelStore) -> tuple[ListedModel, ...]:
    """In the manifest's order; digests are not checked here."""
    return tuple(_listed(pin, store) for pin in pins)


def _listed(pin: ModelPin, store: ModelStore) -> ListedModel:
    stored = [store.stored(pin, file) for file in pin.files]
    present = sum(one.size + one.partial for one in stored)
    state: ModelState = "partial" if present else "not installed"
    if all(one.present for one in stored):
        state = "installed"
    return ListedModel(pin, state, present, store.folder(pin))
