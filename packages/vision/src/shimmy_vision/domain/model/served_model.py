"""Models as clients of the HTTP API name them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shimmy_vision.domain.model.model_family import ModelFamily
from shimmy_vision.domain.model.model_request import family_of

# Names for whatever this server answers with.
_ANY = ("", "default")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A version that a request may name; ``created`` is when it was installed, in Unix seconds."""

    family: ModelFamily
    created: int = 0

    @property
    def id(self) -> str:
        return model_id(self.family)


def model_id(family: ModelFamily) -> str:
    """Like ``minicpm-v-4.6``."""
    return f"minicpm-v-{family}"


def is_any_model(name: str) -> bool:
    """Whether ``name`` leaves the choice to the server."""
    return name.strip().lower() in _ANY


def find_model(name: str, served: Sequence[ServedModel]) -> ServedModel | None:
    """The one of ``served`` that is meant, by its id or as its authors write it."""
    family = family_of(name.strip().lower().removeprefix("openbmb/"))
    return next((one for one in served if one.family == family), None)
