"""The ``Holdings`` port over Keygen's API."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from shimmy_store.adapters.keygen_licences import KeygenLicences
from shimmy_store.adapters.keygen_wire import KeygenWire, checked, document, keygen_shapes
from shimmy_store.domain.convergence import IssuedLicence
from shimmy_store.ports.holdings import Holding, Machine

_PAGE = 100
_MOST_PAGES = 50


class KeygenHoldings:
    """Reads licences as ``licences`` does."""

    def __init__(self, wire: KeygenWire, licences: KeygenLicences) -> None:
        self._wire = wire
        self._licences = licences

    async def show(self, licence: uuid.UUID) -> Holding | None:
        reply = await self._wire.ask("GET", f"licenses/{licence}")
        if reply.status_code == httpx.codes.NOT_FOUND:
            return None
        data = document(checked(reply))["data"]
        machines = await self._machines(licence)
        with keygen_shapes():
            attributes = data["attributes"]
            return Holding(
                self._licences.read(data),
                attributes["uses"],
                attributes["maxUses"],
                attributes["maxMachines"],
                machines,
            )

    async def _machines(self, licence: uuid.UUID) -> tuple[Machine, ...]:
        found: list[Machine] = []
        for number in range(1, _MOST_PAGES + 1):
            page = f"page[size]={_PAGE}&page[number]={number}"
            reply = await self._wire.ask("GET", f"licenses/{licence}/machines?{page}")
            listed = document(checked(reply))["data"]
            with keygen_shapes():
                found.extend(_machine(one) for one in listed)
            if len(listed) < _PAGE:
                break
        return tuple(sorted(found, key=lambda one: (one.activated, one.id)))

    async def find_key(self, key: str) -> IssuedLicence | None:
        body = {"meta": {"key": key}}
        reply = checked(await self._wire.ask("POST", "licenses/actions/validate-key", body))
        data = document(reply)["data"]
        return None if data is None else self._licences.read(data)

    async def free_machine(self, licence: uuid.UUID, machine: str) -> bool:
        # The id comes from a form: anything but an id never becomes part of a path.
        if not re.fullmatch(r"[0-9a-fA-F-]{36}", machine):
            return False
        reply = await self._wire.ask("GET", f"machines/{machine}")
        if reply.status_code == httpx.codes.NOT_FOUND:
            return False
        data = document(checked(reply))["data"]
        with keygen_shapes():
            owner = data["relationships"]["license"]["data"]["id"]
        if owner != str(licence):
            return False
        gone = await self._wire.ask("DELETE", f"machines/{machine}")
        if gone.status_code != httpx.codes.NOT_FOUND:
            checked(gone)
        return True

    async def reach(self) -> None:
        checked(await self._wire.ask("GET", "licenses?limit=1"))


def _machine(data: Mapping[str, Any]) -> Machine:
    attributes = data["attributes"]
    name = attributes["name"] or attributes["hostname"] or "A machine"
    activated = datetime.fromisoformat(attributes["created"]).astimezone(UTC)
    return Machine(data["id"], name, attributes["platform"] or "", activated)
