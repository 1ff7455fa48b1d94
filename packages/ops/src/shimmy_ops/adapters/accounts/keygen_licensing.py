"""The ``Licensing`` port over Keygen's API, with an admin's token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shimmy_ops.adapters.accounts.keygen_account import read_keygen_account
from shimmy_ops.adapters.accounts.keygen_wire import KeygenWire, keygen_shapes
from shimmy_ops.domain.steps import LicensingFound, Object, Step
from shimmy_ops.domain.wanted import PRODUCT_CODE
from shimmy_ops.ports.billing import Made

_PATHS: Mapping[str, str] = {
    "licence-product": "products",
    "entitlement": "entitlements",
    "policy": "policies",
    "token": "tokens",
}


class KeygenLicensing:
    """Remembers from ``read`` and from what it makes which ids things have."""

    def __init__(self, wire: KeygenWire) -> None:
        self._wire = wire
        self._product = ""
        self._entitlements: dict[str, str] = {}
        self._policies: dict[str, str] = {}

    def read(self, product: str) -> LicensingFound:
        with keygen_shapes():
            products = tuple(_flat(one) for one in self._wire.pages("products"))
            coded = [str(one["id"]) for one in products if one.get("code") == PRODUCT_CODE]
            self._product = product or (coded[0] if coded else "")
            entitlements = tuple(_flat(one) for one in self._wire.pages("entitlements"))
            self._entitlements = {one["code"].lower(): one["id"] for one in entitlements}
            known = any(one["id"] == self._product for one in products)
            policies = self._read_policies() if known else ()
            tokens = self._wire.pages(f"products/{self._product}/tokens") if known else []
            account = read_keygen_account(self._wire)
            return LicensingFound(
                products,
                entitlements,
                policies,
                tuple(_flat(one) for one in tokens),
                # One that its own account does not sign with would have the store refuse all.
                account.public_key if account.signed else "",
            )

    def _read_policies(self) -> tuple[Object, ...]:
        self._policies = {}
        listed = self._wire.pages(f"policies?product={self._product}")
        policies = tuple(
            {
                **_flat(one),
                "product": one["relationships"]["product"]["data"]["id"],
                "entitlements": tuple(
                    attached["attributes"]["code"]
                    for attached in self._wire.pages(f"policies/{one['id']}/entitlements")
                ),
            }
            for one in listed
        )
        for policy in policies:
            plan = (policy["metadata"] or {}).get("plan")
            if plan:
                self._policies[plan] = policy["id"]
        return policies

    def perform(self, step: Step) -> Made:
        with keygen_shapes():
            if step.kind == "attachment":
                plan, _, code = step.key.partition("/")
                wanted = [{"type": "entitlements", "id": self._entitlements[code.lower()]}]
                self._wire.ask("POST", f"policies/{self._policies[plan]}/entitlements", wanted)
                return Made()
            path = _PATHS[step.kind]
            if step.action == "retire":
                self._wire.ask("DELETE", f"{path}/{step.id}")
                return Made(step.id)
            data = {"type": path, "attributes": dict(step.attributes)}
            if step.action == "change":
                self._wire.ask("PATCH", f"{path}/{step.id}", data)
                return Made(step.id)
            return self._create(step, path, data)

    def _create(self, step: Step, path: str, data: dict[str, Any]) -> Made:
        if step.kind == "policy":
            product = {"data": {"type": "products", "id": self._product}}
            data["relationships"] = {"product": product}
        place = f"products/{self._product}/tokens" if step.kind == "token" else path
        made = self._wire.ask("POST", place, data)
        if step.kind == "licence-product":
            self._product = made["id"]
        elif step.kind == "entitlement":
            self._entitlements[step.key.lower()] = made["id"]
        elif step.kind == "policy":
            self._policies[step.key] = made["id"]
        secret = made["attributes"]["token"] if step.kind == "token" else ""
        return Made(made["id"], secret)


def _flat(resource: Mapping[str, Any]) -> dict[str, Any]:
    return {**resource["attributes"], "id": resource["id"]}
