"""The ``CustomerLicensing`` port over Keygen's API, with an admin's token."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from shimmy_ops.adapters.accounts.keygen_wire import KeygenWire, keygen_shapes
from shimmy_ops.domain.customers.facts import Document, HeldLicence
from shimmy_ops.errors import LicensingError

_PAGE = 100
# Nothing else becomes part of a path: a key in one would lie in logs.
_ID = re.compile(r"[0-9a-fA-F-]{36}")


class KeygenCustomers:
    """Pages without an end of its own: nothing is left out however many there are."""

    def __init__(self, wire: KeygenWire) -> None:
        self._wire = wire

    def licences_of(self, customer: str) -> tuple[HeldLicence, ...]:
        asked = f"licenses?metadata[customer]={quote(customer, safe='')}"
        found = [one for page in self._pages(asked) for one in page]
        held = [HeldLicence(flat(one), self.machines(one["id"])) for one in found]
        # Whoever ignores the filter must not hand out somebody else's.
        return tuple(one for one in held if one.customer == customer)

    def find(self, licence: str) -> HeldLicence | None:
        if not _ID.fullmatch(licence):
            return None
        found = self._unless_gone("GET", f"licenses/{licence}")
        if found is None:
            return None
        with keygen_shapes():
            return HeldLicence(flat(found), self.machines(licence))

    def licences(self) -> Iterator[Sequence[Document]]:
        for page in self._pages("licenses"):
            with keygen_shapes():
                yield [flat(one) for one in page]

    def machines(self, licence: str) -> tuple[Document, ...]:
        with keygen_shapes():
            pages = self._pages(f"licenses/{licence}/machines")
            return tuple(flat(one) for page in pages for one in page)

    def suspend(self, licence: str) -> None:
        if self._is_suspended(licence):
            return
        try:
            self._wire.ask("POST", f"licenses/{licence}/actions/suspend")
        except LicensingError:
            # Keygen refuses to do it twice, and the store may have done it in between.
            if not self._is_suspended(licence):
                raise

    def remove_machine(self, machine: str) -> None:
        self._unless_gone("DELETE", f"machines/{machine}")

    def describe(self, licence: str, metadata: Mapping[str, Any]) -> None:
        attributes = {"name": None, "metadata": dict(metadata)}
        data = {"type": "licenses", "attributes": attributes}
        self._wire.ask("PATCH", f"licenses/{licence}", data)

    def _is_suspended(self, licence: str) -> bool:
        with keygen_shapes():
            found = self._wire.ask("GET", f"licenses/{licence}")
            return bool(found["attributes"]["suspended"])

    def _unless_gone(self, method: str, path: str) -> Any:
        try:
            return self._wire.ask(method, path)
        except LicensingError as error:
            if error.code == "licensing-not-found":
                return None
            raise

    def _pages(self, path: str) -> Iterator[Sequence[Mapping[str, Any]]]:
        mark, number = "&" if "?" in path else "?", 1
        while True:
            page = self._wire.ask("GET", f"{path}{mark}page[size]={_PAGE}&page[number]={number}")
            if page:
                yield page
            if len(page) < _PAGE:
                return
            number += 1


def flat(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes, the id, and the ids of policy and licence where it is tied to some."""
    found = {**resource["attributes"], "id": resource["id"]}
    for name in ("policy", "license", "owner"):
        related = (resource.get("relationships") or {}).get(name) or {}
        if related.get("data"):
            found[name] = related["data"]["id"]
    return found
