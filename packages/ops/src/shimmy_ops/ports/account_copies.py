"""What is at Keygen and nowhere else, to be kept and to be made again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from shimmy_ops.domain.backups.licences import LicenceAgain


class LicensingCopies(Protocol):
    """Every method raises LicensingError."""

    def read_all(self, told: Callable[[str, int], None]) -> dict[str, list[Mapping[str, Any]]]:
        """Licences with their keys, machines, policies, entitlements, products; each flat."""

    def licences(self) -> Sequence[Mapping[str, Any]]:
        """All that are there."""

    def policies(self) -> Sequence[Mapping[str, Any]]:
        """All that are there."""

    def make_again(self, licence: LicenceAgain) -> bool:
        """Under its old id and key; False where one of this id is there by now."""
