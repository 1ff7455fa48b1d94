"""The ``Licences`` port over Keygen's API, with the token of a product or an admin."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, assert_never

import httpx

from shimmy_store.adapters.keygen_wire import (
    KeygenWire,
    checked,
    document,
    error_codes,
    errors,
    keygen_shapes,
)
from shimmy_store.domain.catalog import PlanId
from shimmy_store.domain.convergence import (
    ChangePlan,
    Create,
    Describe,
    IssuedLicence,
    Reinstate,
    ResetPages,
    Suspend,
)


class KeygenLicences:
    """``policies`` are those of the plans."""

    def __init__(self, wire: KeygenWire, policies: Mapping[PlanId, str]) -> None:
        self._wire = wire
        self._policies = policies
        self._plans = {policy: plan for plan, policy in policies.items()}

    async def find(self, identifier: uuid.UUID) -> IssuedLicence | None:
        reply = await self._wire.ask("GET", f"licenses/{identifier}")
        if reply.status_code == httpx.codes.NOT_FOUND:
            return None
        return self.read(document(checked(reply))["data"])

    async def create(self, step: Create) -> Literal["created", "exists"]:
        data = {
            "type": "licenses",
            "id": str(step.id),
            "attributes": {"expiry": _time(step.expiry), "metadata": dict(step.metadata)},
            "relationships": {"policy": _policy(self._policies[step.plan])},
        }
        reply = await self._wire.ask("POST", "licenses", {"data": data})
        if reply.status_code == httpx.codes.CONFLICT or "ID_CONFLICT" in error_codes(reply):
            return "exists"
        checked(reply)
        return "created"

    async def change(
        self,
        identifier: uuid.UUID,
        step: ChangePlan | Describe | ResetPages | Suspend | Reinstate,
    ) -> None:
        place = f"licenses/{identifier}"
        match step:
            case ChangePlan(plan=plan):
                body = _policy(self._policies[plan])
                checked(await self._wire.ask("PUT", f"{place}/policy", body))
            case Describe(expiry=expiry, metadata=metadata):
                attributes = {"expiry": _time(expiry), "metadata": dict(metadata)}
                body = {"data": {"type": "licenses", "attributes": attributes}}
                checked(await self._wire.ask("PATCH", place, body))
            case ResetPages():
                checked(await self._wire.ask("POST", f"{place}/actions/reset-usage"))
            case Suspend():
                await self._toggle(place, "suspend")
            case Reinstate():
                await self._toggle(place, "reinstate")
            case _:
                assert_never(step)

    async def _toggle(self, place: str, action: str) -> None:
        """Keygen refuses to do either twice, with no code: then it is as it should be."""
        reply = await self._wire.ask("POST", f"{place}/actions/{action}")
        if [_pointer(one) for one in errors(reply)] != ["/data/attributes/suspended"]:
            checked(reply)

    def read(self, data: Mapping[str, Any]) -> IssuedLicence:
        """A licence from its resource. Raises LicensingError for anything else."""
        with keygen_shapes():
            attributes, relations = data["attributes"], data["relationships"]
            expiry = attributes["expiry"]
            return IssuedLicence(
                id=uuid.UUID(data["id"]),
                plan=self._plans.get(relations["policy"]["data"]["id"]),
                expiry=None if expiry is None else datetime.fromisoformat(expiry).astimezone(UTC),
                suspended=attributes["suspended"] is not False,
                metadata={_snake(name): value for name, value in attributes["metadata"].items()},
                key=attributes["key"],
            )


def _pointer(error: Mapping[str, Any]) -> Any:
    """What an error is about; some of Keygen's name nothing."""
    source = error.get("source")
    return source.get("pointer") if isinstance(source, dict) else None


def _policy(identifier: str) -> dict[str, Any]:
    return {"data": {"type": "policies", "id": identifier}}


def _time(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _snake(name: str) -> str:
    """Keygen takes snake_case in metadata and shows camelCase."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()
