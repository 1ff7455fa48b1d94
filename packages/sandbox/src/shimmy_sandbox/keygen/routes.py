"""Which handler answers what: Keygen's paths below the account."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from shimmy_sandbox.keygen import (
    catalogue,
    checkouts,
    entitlements,
    heartbeats,
    licences,
    lifecycle,
    machines,
    policies,
    tokens,
    verdicts,
)
from shimmy_sandbox.keygen.call import Call, Reply

Handler: TypeAlias = Callable[[Call], Reply]

_ROUTES: Mapping[str, Handler] = {
    "GET ": catalogue.show_account,
    "GET me": catalogue.show_me,
    "GET profile": catalogue.show_me,
    # Products
    "POST products": catalogue.create_product,
    "GET products": catalogue.list_products,
    "GET products/{product}": catalogue.show_product,
    "PATCH products/{product}": catalogue.update_product,
    "DELETE products/{product}": catalogue.delete_product,
    "POST products/{product}/tokens": tokens.create_product_token,
    "GET products/{product}/tokens": tokens.list_product_tokens,
    # Policies
    "POST policies": policies.create_policy,
    "GET policies": policies.list_policies,
    "GET policies/{policy}": policies.show_policy,
    "PATCH policies/{policy}": policies.update_policy,
    "DELETE policies/{policy}": policies.delete_policy,
    "GET policies/{policy}/entitlements": entitlements.list_policy_entitlements,
    "POST policies/{policy}/entitlements": entitlements.attach_to_policy,
    "DELETE policies/{policy}/entitlements": entitlements.detach_from_policy,
    "GET policies/{policy}/entitlements/{entitlement}": entitlements.show_policy_entitlement,
    # Entitlements
    "POST entitlements": entitlements.create_entitlement,
    "GET entitlements": entitlements.list_entitlements,
    "GET entitlements/{entitlement}": entitlements.show_entitlement,
    "PATCH entitlements/{entitlement}": entitlements.update_entitlement,
    "DELETE entitlements/{entitlement}": entitlements.delete_entitlement,
    # Users
    "POST users": catalogue.create_user,
    "GET users": catalogue.list_users,
    "GET users/{user}": catalogue.show_user,
    "PATCH users/{user}": catalogue.update_user,
    "DELETE users/{user}": catalogue.delete_user,
    # Tokens
    "GET tokens/{token}": tokens.show_token,
    "DELETE tokens/{token}": tokens.revoke_token,
    # Licences
    "POST licenses": licences.create_licence,
    "GET licenses": licences.list_licences,
    "GET licenses/{license}": licences.show_licence,
    "PATCH licenses/{license}": licences.update_licence,
    "DELETE licenses/{license}": licences.delete_licence,
    "POST licenses/actions/validate-key": verdicts.validate_key,
    "GET licenses/{license}/actions/validate": verdicts.quick_validate,
    "POST licenses/{license}/actions/validate": verdicts.validate_licence,
    "DELETE licenses/{license}/actions/revoke": licences.revoke_licence,
    "POST licenses/{license}/actions/renew": lifecycle.renew,
    "POST licenses/{license}/actions/suspend": lifecycle.suspend,
    "POST licenses/{license}/actions/reinstate": lifecycle.reinstate,
    "POST licenses/{license}/actions/check-in": lifecycle.check_in,
    "POST licenses/{license}/actions/increment-usage": lifecycle.increment_usage,
    "POST licenses/{license}/actions/decrement-usage": lifecycle.decrement_usage,
    "POST licenses/{license}/actions/reset-usage": lifecycle.reset_usage,
    "POST licenses/{license}/actions/check-out": checkouts.check_out_licence,
    "GET licenses/{license}/actions/check-out": checkouts.download_licence,
    "GET licenses/{license}/product": catalogue.show_licence_product,
    "GET licenses/{license}/policy": policies.show_licence_policy,
    "PUT licenses/{license}/policy": lifecycle.change_policy,
    "GET licenses/{license}/owner": catalogue.show_licence_owner,
    "PUT licenses/{license}/owner": lifecycle.change_owner,
    "GET licenses/{license}/machines": machines.list_licence_machines,
    "GET licenses/{license}/machines/{machine}": machines.show_licence_machine,
    "POST licenses/{license}/tokens": tokens.create_licence_token,
    "GET licenses/{license}/tokens": tokens.list_licence_tokens,
    "GET licenses/{license}/entitlements": entitlements.list_licence_entitlements,
    "POST licenses/{license}/entitlements": entitlements.attach_to_licence,
    "DELETE licenses/{license}/entitlements": entitlements.detach_from_licence,
    "GET licenses/{license}/entitlements/{entitlement}": entitlements.show_licence_entitlement,
    # Machines
    "POST machines": machines.create_machine,
    "GET machines": machines.list_machines,
    "GET machines/{machine}": machines.show_machine,
    "PATCH machines/{machine}": machines.update_machine,
    "DELETE machines/{machine}": machines.delete_machine,
    "POST machines/{machine}/actions/ping": heartbeats.ping,
    "POST machines/{machine}/actions/ping-heartbeat": heartbeats.ping,
    "POST machines/{machine}/actions/reset": heartbeats.reset_heartbeat,
    "POST machines/{machine}/actions/reset-heartbeat": heartbeats.reset_heartbeat,
    "POST machines/{machine}/actions/check-out": checkouts.check_out_machine,
    "GET machines/{machine}/actions/check-out": checkouts.download_machine,
    "GET machines/{machine}/license": machines.show_machine_licence,
    "GET machines/{machine}/product": catalogue.show_machine_product,
}
_TABLE = [
    (method, pattern.split("/"), handler)
    for (method, _, pattern), handler in (
        (route.partition(" "), handler) for route, handler in _ROUTES.items()
    )
]


def handler_for(method: str, segments: Iterable[str]) -> tuple[Handler, Mapping[str, str]] | None:
    """The handler of ``segments`` (decoded, below the account) and what its placeholders hold."""
    given = list(segments)
    wanted = "PATCH" if method == "PUT" and len(given) == 2 else method
    for allowed, pattern, handler in _TABLE:
        if allowed == wanted and len(pattern) == len(given):
            held = {}
            for part, value in zip(pattern, given, strict=True):
                if part.startswith("{") and value:
                    held[part[1:-1]] = value
                elif part != value:
                    break
            else:
                return handler, held
    return None
