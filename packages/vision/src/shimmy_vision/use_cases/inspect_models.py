"""What is installed and whether it can be used, for ``shimmy doctor``."""

from __future__ import annotations

from collections.abc import Iterable

from shimmy_vision.domain.diagnosis import ModelFacts
from shimmy_vision.domain.model.model_manifest import ModelPin
from shimmy_vision.errors import ModelError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.model_files import ModelFiles
from shimmy_vision.ports.model_store import ModelStore
from shimmy_vision.use_cases.list_models import ListedModel, list_models
from shimmy_vision.use_cases.verify_model import verify_model


def inspect_models(
    pins: Iterable[ModelPin], store: ModelStore, files: ModelFiles
) -> list[ModelFacts]:
    """Everything installed, whole or in part; what is wrong with a model is told, not raised."""
    listed = [one for one in list_models(pins, store) if one.state != "not installed"]
    return [_inspect(one, store, files) for one in listed]


def _inspect(listed: ListedModel, store: ModelStore, files: ModelFiles) -> ModelFacts:
    problem = remedy = ""
    try:
        verify_model(listed.pin, store, files, lambda _done, _total: None, Cancellation())
    except ModelError as error:
        problem, remedy = str(error), error.hint
    return ModelFacts(listed.pin.family, str(listed.folder), listed.bytes_present, problem, remedy)
