"""From a document's bytes to its pages: their sizes, their pixels and their own text."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from shimmy_vision.domain.image.layer_words import LayerCharacter
from shimmy_vision.domain.image.page_scale import PageSize
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.image_intake import DecodedImage


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    """What is refused before a page is looked at; how large a page may be, IntakeLimits say."""

    max_bytes: int = 200_000_000
    max_pages: int = 10_000


class OpenDocument(Protocol):
    """A document in memory; pages are counted from 1. Leaving the block closes it."""

    @property
    def page_count(self) -> int: ...

    def page_size(self, page: int, cancellation: Cancellation | None = None) -> PageSize:
        """As the page is shown. Raises ImageError page-corrupt; StoppedError when cancelled."""
        ...

    def render(self, page: int, dpi: int, cancellation: Cancellation) -> DecodedImage:
        """The page with its annotations and filled fields, on white.

        Raises ImageError page-corrupt; StoppedError when cancelled.
        """
        ...

    def characters(
        self, page: int, dpi: int, cancellation: Cancellation
    ) -> tuple[LayerCharacter, ...]:
        """The page's own text in the order it is drawn, placed in pixels of its rendering.

        Raises ImageError page-corrupt; StoppedError when cancelled.
        """
        ...

    def __enter__(self) -> OpenDocument: ...

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None: ...


class DocumentIntake(Protocol):
    """Opens one document."""

    def open(
        self, data: bytes, limits: DocumentLimits, cancellation: Cancellation | None = None
    ) -> OpenDocument:
        """Raises ImageError: document-encrypted, document-corrupt, document-empty or

        document-too-large; StoppedError when cancelled while others read theirs.
        """
        ...
