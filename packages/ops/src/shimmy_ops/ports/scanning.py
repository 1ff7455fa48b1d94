"""Where a scan's bytes come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from shimmy_ops.domain.secrets.findings import Origin


@dataclass(frozen=True, slots=True)
class Piece:
    """Something that was read."""

    origin: Origin
    content: bytes


@dataclass(frozen=True, slots=True)
class Unread:
    """Something that could not be read, or not within bounds: nobody may call it clean."""

    origin: Origin
    why: str


class PieceSource(Protocol):
    """Files, or what git kept of them."""

    def pieces(self) -> Iterator[Piece | Unread]:
        """Each once."""
        ...


class Unpacker(Protocol):
    """Looks into archives and compressed streams."""

    def unpack(self, piece: Piece) -> Iterator[Piece | Unread]:
        """Everything that ``piece`` holds, however deep; nothing where it is no container."""
        ...


class Progress(Protocol):
    """Hears how far a scan is."""

    def __call__(self, pieces: int, size: int) -> None:
        """Called for every piece."""
        ...
