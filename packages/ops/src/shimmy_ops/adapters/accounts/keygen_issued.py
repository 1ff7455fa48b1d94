"""The ``IssuedLicences`` port over Keygen's API, with an admin's token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from shimmy_ops.adapters.accounts.keygen_wire import KeygenWire, keygen_shapes
from shimmy_ops.domain.transaction.sightings import SeenLicence


class KeygenIssued:
    """Finds licences by the metadata that the store writes into them."""

    def __init__(self, wire: KeygenWire) -> None:
        self._wire = wire
        self._plans: dict[str, str] = {}

    def of_customer(self, customer: str) -> Sequence[SeenLicence]:
        with keygen_shapes():
            listed = self._wire.pages(f"licenses?metadata[customer]={customer}")
            # The metadata is looked at again: nobody else's licence is ever touched.
            ours = [one for one in listed if _metadata(one).get("customer") == customer]
            return [self._seen(one) for one in ours]

    def _seen(self, found: Mapping[str, Any]) -> SeenLicence:
        attributes, place = found["attributes"], f"licenses/{found['id']}"
        metadata = _metadata(found)
        entitlements = self._wire.pages(f"{place}/entitlements")
        machines = self._wire.pages(f"{place}/machines")
        return SeenLicence(
            found["id"],
            str(metadata.get("plan", "")),
            self._plan_of(found["relationships"]["policy"]["data"]["id"]),
            str(metadata.get("source", "")),
            _time(attributes["created"]),
            _maybe(attributes["expiry"]),
            _maybe(metadata.get("pagesPeriodEnd")),
            attributes["suspended"] is not False,
            tuple(one["attributes"]["code"] for one in entitlements),
            tuple(one["id"] for one in machines),
            attributes["key"],
        )

    def _plan_of(self, policy: str) -> str:
        if policy not in self._plans:
            found = self._wire.ask("GET", f"policies/{policy}")
            self._plans[policy] = str((found["attributes"]["metadata"] or {}).get("plan", ""))
        return self._plans[policy]

    def free(self, machine: str) -> None:
        self._wire.ask("DELETE", f"machines/{machine}")


def _metadata(found: Mapping[str, Any]) -> Mapping[str, Any]:
    return found["attributes"]["metadata"] or {}


def _time(written: str) -> datetime:
    return datetime.fromisoformat(written).astimezone(UTC)


def _maybe(written: str | None) -> datetime | None:
    return None if written is None else _time(written)
