"""Where model files are downloaded from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from shimmy_vision.domain.model.download import PartState, ServerReply
from shimmy_vision.domain.model.model_manifest import ModelFile, ModelPin
from shimmy_vision.ports.cancellation import Cancellation


@dataclass(frozen=True, slots=True)
class Transfer:
    """A reply whose body is still to be read."""

    reply: ServerReply
    chunks: Iterator[bytes]


class ModelSource(Protocol):
    """Fetches from a byte offset on."""

    def fetch(
        self, pin: ModelPin, file: ModelFile, part: PartState, cancellation: Cancellation
    ) -> AbstractContextManager[Transfer]:
        """Ask for the bytes after ``part``; cancelling hangs up, even on a silent server.

        Raises DownloadError; ``retryable`` tells whether the same request may
        succeed later, ``retry_after`` how long the server asked to wait.
        """
        ...
