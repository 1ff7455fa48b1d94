"""The ``LicensingCopies`` port over Keygen's API, with an admin's token."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shimmy_ops.adapters.accounts.keygen_customers import flat
from shimmy_ops.adapters.accounts.keygen_wire import KeygenWire, keygen_shapes
from shimmy_ops.domain.backups.licences import LicenceAgain
from shimmy_ops.errors import LicensingError

_PAGE = 100
_KINDS: Mapping[str, str] = {
    "products": "products",
    "entitlements": "entitlements",
    "policies": "policies",
    "licences": "licenses",
    "machines": "machines",
}


class KeygenCopies:
    """Pages without an end of its own: nothing is left out however many there are."""

    def __init__(self, wire: KeygenWire) -> None:
        self._wire = wire

    def read_all(self, told: Callable[[str, int], None]) -> dict[str, list[Mapping[str, Any]]]:
        found = {}
        for kind, path in _KINDS.items():
            found[kind] = self._all(path)
            told(kind, len(found[kind]))
        return found

    def licences(self) -> Sequence[Mapping[str, Any]]:
        return self._all("licenses")

    def policies(self) -> Sequence[Mapping[str, Any]]:
        return self._all("policies")

    def _all(self, path: str) -> list[Mapping[str, Any]]:
        # Newest first: what is made meanwhile moves others to the next page, where they come again.
        found: dict[str, Mapping[str, Any]] = {}
        number = 1
        while True:
            page = self._wire.ask("GET", f"{path}?page[size]={_PAGE}&page[number]={number}")
            with keygen_shapes():
                found.update({one["id"]: flat(one) for one in page})
            if len(page) < _PAGE:
                return list(found.values())
            number += 1

    def make_again(self, licence: LicenceAgain) -> bool:
        policy = {"data": {"type": "policies", "id": licence.policy}}
        data = {
            "type": "licenses",
            "id": licence.id,
            "attributes": dict(licence.attributes),
            "relationships": {"policy": policy},
        }
        try:
            self._wire.ask("POST", "licenses", data)
        except LicensingError:
            # Made by a try that was not heard, or refused: whoever is there now tells.
            if self._is_there(licence.id):
                return False
            raise
        return True

    def _is_there(self, identifier: str) -> bool:
        try:
            self._wire.ask("GET", f"licenses/{identifier}")
        except LicensingError as error:
            if error.code == "licensing-not-found":
                return False
            raise
        return True
