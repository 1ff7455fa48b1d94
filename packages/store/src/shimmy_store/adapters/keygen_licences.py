"""The ``Licences`` port over Keygen's API, with the token of a product or an admin.

The only place that translates Keygen's errors and transport errors for the store.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, assert_never

import httpx

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
from shimmy_store.errors import LicensingError

_MEDIA_TYPE = "application/vnd.api+json"


class KeygenLicences:
    """``client`` speaks to ``…/v1/accounts/ID/`` and authenticates; ``policies`` by plan."""

    def __init__(self, client: httpx.AsyncClient, policies: Mapping[PlanId, str]) -> None:
        self._client = client
        self._policies = policies
        self._plans = {policy: plan for plan, policy in policies.items()}

    async def find(self, identifier: uuid.UUID) -> IssuedLicence | None:
        reply = await self._ask("GET", f"licenses/{identifier}")
        if reply.status_code == httpx.codes.NOT_FOUND:
            return None
        return self._issued(_document(_checked(reply))["data"])

    async def create(self, step: Create) -> Literal["created", "exists"]:
        data = {
            "type": "licenses",
            "id": str(step.id),
            "attributes": {"expiry": _time(step.expiry), "metadata": dict(step.metadata)},
            "relationships": {"policy": _policy(self._policies[step.plan])},
        }
        reply = await self._ask("POST", "licenses", {"data": data})
        if reply.status_code == httpx.codes.CONFLICT or "ID_CONFLICT" in _codes(reply):
            return "exists"
        _checked(reply)
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
                _checked(await self._ask("PUT", f"{place}/policy", body))
            case Describe(expiry=expiry, metadata=metadata):
                attributes = {"expiry": _time(expiry), "metadata": dict(metadata)}
                body = {"data": {"type": "licenses", "attributes": attributes}}
                _checked(await self._ask("PATCH", place, body))
            case ResetPages():
                _checked(await self._ask("POST", f"{place}/actions/reset-usage"))
            case Suspend():
                await self._toggle(place, "suspend")
            case Reinstate():
                await self._toggle(place, "reinstate")
            case _:
                assert_never(step)

    async def _toggle(self, place: str, action: str) -> None:
        """Keygen refuses to do either twice, with no code: then it is as it should be."""
        reply = await self._ask("POST", f"{place}/actions/{action}")
        at = [error.get("source", {}).get("pointer") for error in _errors(reply)]
        if at != ["/data/attributes/suspended"]:
            _checked(reply)

    async def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        headers = {"Accept": _MEDIA_TYPE, "Content-Type": _MEDIA_TYPE}
        try:
            return await self._client.request(method, path, json=body, headers=headers)
        except httpx.HTTPError as error:
            raise LicensingError(
                "licensing-unreachable",
                f"Keygen was not reached: {type(error).__name__}.",
                hint="It is tried again later.",
                retryable=True,
            ) from error

    def _issued(self, data: Mapping[str, Any]) -> IssuedLicence:
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


def _checked(reply: httpx.Response) -> httpx.Response:
    if reply.is_success:
        return reply
    later = (
        reply.status_code
        in (
            httpx.codes.CONFLICT,
            httpx.codes.TOO_MANY_REQUESTS,
        )
        or reply.is_server_error
    )
    codes = ", ".join(_codes(reply)) or "no code"
    raise LicensingError(
        "licensing-failing" if later else "licensing-refused",
        f"Keygen answers {reply.status_code} ({codes}).",
        hint="It is tried again later." if later else "Check token, policies and their scheme.",
        retryable=later,
    )


def _document(reply: httpx.Response) -> Mapping[str, Any]:
    try:
        document = reply.json()
    except ValueError:
        document = None
    if isinstance(document, dict) and isinstance(document.get("data"), dict):
        return document
    raise LicensingError(
        "licensing-malformed",
        "Keygen's reply is no licence.",
        hint="Something else may be answering at Keygen's address.",
        retryable=True,
    )


def _errors(reply: httpx.Response) -> list[Mapping[str, Any]]:
    try:
        document = reply.json() if reply.content else {}
    except ValueError:
        return []
    listed = document.get("errors") if isinstance(document, dict) else None
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _codes(reply: httpx.Response) -> list[str]:
    return [str(error["code"]) for error in _errors(reply) if error.get("code")]


def _policy(identifier: str) -> dict[str, Any]:
    return {"data": {"type": "policies", "id": identifier}}


def _time(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _snake(name: str) -> str:
    """Keygen takes snake_case in metadata and shows camelCase."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()
