"""What the store is told of a set-up: its variables, and which secrets they refer to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shimmy_ops.domain.billing_steps import our_endpoints, our_portals
from shimmy_ops.domain.credentials import METRICS_TOKEN, OPERATOR_TOKEN, STORE_SECRET
from shimmy_ops.domain.licensing_steps import our_policy, our_tokens
from shimmy_ops.domain.profile import KEYGEN
from shimmy_ops.domain.steps import Found, secret_name
from shimmy_ops.domain.wanted import Desired
from shimmy_ops.errors import ProvisionError

_PREFIX = "SHIMMY_STORE_"
LEFT = ("STRIPE_KEY", "MAIL", "LEDGER")
"""What provisioning cannot know."""
MADE: Mapping[str, str] = {
    "OPERATOR_TOKEN": OPERATOR_TOKEN,
    "METRICS_TOKEN": METRICS_TOKEN,
    "SECRET": STORE_SECRET,
}
"""What nobody but us and the store has to know, by the name it is kept as."""
STORE_WEBHOOK, STORE_TOKEN = "store-webhook-secrets", "store-keygen-token"
"""What the store is told of secrets that others made: the same names whichever these are."""


@dataclass(frozen=True, slots=True)
class StoreEnvironment:
    """``plain`` values, and ``kept``: the variable and the name its secret is kept by.

    ``copied``: names among these, and of what they are copies. The store goes on reading one name
    while the secret behind it is replaced, also after a rollback.
    """

    plain: Mapping[str, str]
    kept: Mapping[str, str]
    copied: Mapping[str, str]


def store_environment(desired: Desired, found: Found) -> StoreEnvironment:
    """Raises ProvisionError where something is not there yet."""
    profile, portals = desired.profile, our_portals(found.billing)
    endpoint, _ = our_endpoints(desired, found)
    token, _ = our_tokens(desired, found)
    plans = [plan.id for plan in desired.offer.plans]
    policies = {one: our_policy(desired, found.licensing, one) for one in plans}
    made = [f"{plan}={one['id']}" for plan, one in policies.items() if one is not None]
    if not portals or endpoint is None or token is None or len(made) < len(plans):
        raise ProvisionError(
            "not-provisioned",
            "The store's environment cannot be written before everything is there.",
            hint="shimmy-ops provision --apply makes what is missing.",
        )
    plain = {
        "MODE": "live" if profile.livemode else "test",
        "URL": profile.store_url,
        "KEYGEN_ACCOUNT": profile.keygen_account,
        "KEYGEN_POLICIES": ",".join(made),
        "PORTAL": str(portals[0]["id"]),
        "MAIL_FROM": profile.mail_from,
        **({"KEYGEN_PUBLIC_KEY": key} if (key := found.licensing.public_key) else {}),
        **({"STRIPE_URL": profile.stripe_url} if profile.stripe_url else {}),
        **({"KEYGEN_URL": profile.keygen_url} if profile.keygen_url != KEYGEN else {}),
    }
    kept = {"WEBHOOK_SECRETS": STORE_WEBHOOK, "KEYGEN_TOKEN": STORE_TOKEN, **MADE}
    copied = {
        STORE_WEBHOOK: secret_name("endpoint", endpoint["id"]),
        STORE_TOKEN: secret_name("token", token["id"]),
    }
    return StoreEnvironment(_prefixed(plain), _prefixed(kept), copied)


def _prefixed(variables: Mapping[str, str]) -> dict[str, str]:
    return {f"{_PREFIX}{name}": value for name, value in variables.items()}
