"""Both accounts in memory, changed by the steps of a plan: what a real run would leave there."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shimmy_ops.domain.contracts import parse_offer
from shimmy_ops.domain.profile import parse_profile
from shimmy_ops.domain.provisioning import plan_provision
from shimmy_ops.domain.steps import BillingFound, Found, LicensingFound, PriceOf, Step, secret_name
from shimmy_ops.domain.wanted import Desired

CONTRACTS = Path(__file__).resolve().parents[4] / "contracts"
PLANS = json.loads((CONTRACTS / "plans.json").read_text())
EVENTS = json.loads((CONTRACTS / "webhook_events.json").read_text())
TABLE = {
    "store_url": "http://127.0.0.1:8400",
    "stripe_url": "http://127.0.0.1:1",
    "keygen_url": "http://127.0.0.1:2",
    "keygen_account": "ours",
    "mail_from": "a@shimmy.example",
}


def desired(plans: Any = PLANS, **changes: Any) -> Desired:
    profile = parse_profile({"sandbox": {**TABLE, **changes}}, "sandbox")
    return Desired(parse_offer(plans, EVENTS), profile)


class Model:
    """Both accounts as lists of documents that steps change, after the APIs' documentation."""

    def __init__(self, found: Found | None = None) -> None:
        found = copy.deepcopy(found or Found(BillingFound(), LicensingFound()))
        billing, licensing = found.billing, found.licensing
        self.held = set(found.held)
        self.lists: dict[str, list[dict[str, Any]]] = {
            "product": [dict(one) for one in billing.products],
            "price": [dict(one) for one in billing.prices],
            "portal": [dict(one) for one in billing.portals],
            "endpoint": [dict(one) for one in billing.endpoints],
            "licence-product": [dict(one) for one in licensing.products],
            "entitlement": [dict(one) for one in licensing.entitlements],
            "policy": [dict(one) for one in licensing.policies],
            "token": [dict(one) for one in licensing.tokens],
        }
        self._names = itertools.count(sum(map(len, self.lists.values())) + 1)

    def found(self) -> Found:
        own = [tuple(copy.deepcopy(listed)) for listed in self.lists.values()]
        return Found(
            BillingFound(*own[:4]),
            LicensingFound(own[4], own[5], own[6], own[7]),
            frozenset(self.held),
        )

    def take(self, step: Step) -> None:
        if step.kind == "attachment":
            plan, _, code = step.key.partition("/")
            policy = self._policy(plan)
            assert code not in policy["entitlements"]
            assert any(one["code"] == code for one in self.lists["entitlement"])
            policy["entitlements"] = (*policy["entitlements"], code)
            return
        listed = self.lists[step.kind]
        if step.action == "create":
            listed.append(self._made(step))
            return
        held = next(one for one in listed if one["id"] == step.id)
        if step.action == "retire" and step.kind in ("endpoint", "token"):
            listed.remove(held)
            return
        _merge(held, self._resolved(step.attributes))

    def _made(self, step: Step) -> dict[str, Any]:
        number = next(self._names)
        made: dict[str, Any] = {"id": f"{step.kind}-{number:04}", "created": number}
        made |= {"metadata": {}, "active": True, "status": "enabled"}
        match step.kind:
            case "product":
                assert all(one["id"] != step.key for one in self.lists["product"])
                made |= {"id": step.key, "default_price": None}
            case "price":
                self._transfer(step)
                made |= {"recurring": None}
            case "portal":
                made |= {"is_default": not self.lists["portal"], "features": {}}
            case "policy":
                product = next(
                    one for one in self.lists["licence-product"] if one["code"] == "shimmy-vision"
                )
                made |= {"product": product["id"], "entitlements": (), "scheme": None}
            case _:
                pass
        if step.kind in ("endpoint", "token"):
            self.held.add(secret_name(step.kind, made["id"]))
        _merge(made, self._resolved(step.attributes))
        return made

    def _transfer(self, step: Step) -> None:
        assert step.attributes["transfer_lookup_key"] is True
        for one in self.lists["price"]:
            if one["lookup_key"] == step.key:
                one["lookup_key"] = None

    def _policy(self, plan: str) -> dict[str, Any]:
        (ours,) = [one for one in self.lists["licence-product"] if one["code"] == "shimmy-vision"]
        in_ours = [one for one in self.lists["policy"] if one["product"] == ours["id"]]
        (found,) = [one for one in in_ours if one["metadata"].get("plan") == plan]
        return found

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, PriceOf):
            (price,) = [one for one in self.lists["price"] if one["lookup_key"] == value.plan]
            return price["id"]
        if isinstance(value, Mapping):
            return {name: self._resolved(below) for name, below in value.items()}
        if isinstance(value, list):
            return [self._resolved(below) for below in value]
        return value


def _merge(held: dict[str, Any], given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if isinstance(value, Mapping) and isinstance(held.get(name), dict):
            _merge(held[name], value)
        else:
            held[name] = copy.deepcopy(value)


def applied(wanted: Desired, found: Found | None = None) -> Model:
    model = Model(found)
    for step in plan_provision(wanted, model.found()).steps:
        model.take(step)
    return model
