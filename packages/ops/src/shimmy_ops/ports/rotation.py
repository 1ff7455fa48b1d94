"""Where the store is told its secrets, and whether it and their issuers believe them."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

from shimmy_ops.domain.rotation.sequence import Kind
from shimmy_ops.domain.rotation.state import Rotation

Tried: TypeAlias = Literal["works", "refused", "unknown"]


class StoreSecrets(Protocol):
    """What the store is told at its next start. Raises KeepingError, RotationError."""

    def read(self, variable: str) -> str:
        """What it is told now."""

    def tell(self, variable: str, value: str) -> None:
        """Durable once this returns."""


class RotationStates(Protocol):
    """Raises RotationError, KeepingError."""

    def read(self, kind: Kind) -> Rotation | None:
        """The newest of this kind."""

    def save(self, rotation: Rotation) -> None:
        """Whole or not at all."""


class Believers(Protocol):
    """Whether a secret is believed, by trying it. Raises OpsError where nobody answers."""

    def webhook(self, secret: str) -> int:
        """The status that an event signed with it is answered."""

    def desk(self, token: str) -> bool:
        """Whether it opens the operator's desk."""

    def metrics(self, token: str) -> bool:
        """Whether it opens the store's metrics."""

    def mail(self) -> str:
        """Have the store send a test mail; why that was not possible, empty if it was."""

    def licence_token(self, token: str) -> Tried:
        """Whether Keygen lets it in."""

    def stripe_key(self, key: str) -> Tried:
        """Whether Stripe lets it in."""

    def stripe_rights(self, key: str) -> list[str]:
        """What the store reads and this key may not, and whether it is another account's."""

    def mailer(self, url: str) -> Tried:
        """Whether the mail server lets it in; unknown where that cannot be tried."""

    def pending(self, until: int) -> int:
        """Events of Stripe's, made until then (seconds), that some endpoint has still to get."""
