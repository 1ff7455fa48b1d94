"""A webhook endpoint's secret: a second endpoint beside the first, then that one alone.

Stripe shows a secret when an endpoint is made, and never again.
"""

from __future__ import annotations

from typing import Any

from shimmy_ops.domain.billing_steps import our_endpoints
from shimmy_ops.domain.rotation.sequence import VARIABLES
from shimmy_ops.domain.rotation.state import Done, Rotation, Waiting
from shimmy_ops.domain.steps import MARK, Found, Object, Step, secret_name
from shimmy_ops.domain.wanted import Desired, wanted_endpoint
from shimmy_ops.errors import RotationError
from shimmy_ops.use_cases.tell_store import Hands, tell_store

# Told of nothing that happens to us before the store knows the new secret: nothing is refused.
_QUIET = ["test_helpers.test_clock.ready"]
_NEXT, _PREVIOUS = "next", "previous"
_ACCEPTED = range(200, 300)


def take_webhook_rotation(
    rotation: Rotation, desired: Desired, found: Found, hands: Hands
) -> Done | Waiting:
    """The next step. Raises OpsError."""
    match rotation.next_step:
        case "new-made":
            return _make(desired, found, hands)
        case "both-told":
            old, new = _secrets(rotation, hands)
            return tell_store(rotation, old, f"{old},{new}", hands)
        case "both-believed":
            return _believed(rotation, hands)
        case "new-hears":
            made = _endpoint(found, rotation.facts["new"])
            _change(made, {"enabled_events": list(desired.offer.events)}, hands)
            heard = int(hands.yard.now().timestamp())
            return Done("it hears what the old one hears", {"heard": str(heard)})
        case "old-quiet":
            return _quiet(rotation, found, hands)
        case "new-told":
            old, new_secret = _secrets(rotation, hands)
            return tell_store(rotation, f"{old},{new_secret}", new_secret, hands)
        case "old-refused":
            return _refused(rotation, hands)
        case _:
            return _end(rotation, found, hands)


def _make(desired: Desired, found: Found, hands: Hands) -> Done:
    used, _ = our_endpoints(desired, found)
    if used is None:
        raise RotationError(
            "rotation-nothing-old",
            "There is no endpoint whose secret is kept here.",
            hint="shimmy-ops provision --apply --write-env makes one.",
        )
    if hands.safe.read(secret_name("endpoint", used["id"])) not in _told(hands):
        raise RotationError(
            "rotation-store-told-another",
            f"The store is told another secret than that of endpoint {used['id']}.",
            hint="Write its environment anew (shimmy-ops provision --write-env), and release that.",
        )
    begun = [one for one in found.billing.endpoints if _mark(one) == _NEXT]
    for one in begun:
        name = secret_name("endpoint", one["id"])
        if hands.safe.read(name):
            return Done(f"endpoint {one['id']}", {"old": used["id"], "new": one["id"]})
        # Its secret was shown to a run that was cut off.
        hands.accounts.billing.perform(Step("retire", "endpoint", _NEXT, one["id"]), "")
    sent: dict[str, Any] = {**wanted_endpoint(desired), "enabled_events": _QUIET}
    sent |= {"metadata": {"shimmy": _NEXT}, "api_version": desired.offer.api_version}
    del sent["status"]
    step = Step("create", "endpoint", _NEXT, "", sent)
    made = hands.accounts.billing.perform(step, hands.attempt())
    hands.safe.keep(secret_name("endpoint", made.id), made.secret)
    return Done(f"endpoint {made.id}", {"old": str(used["id"]), "new": made.id})


def _told(hands: Hands) -> list[str | None]:
    return [*hands.secrets.read(VARIABLES["webhook-secret"]).split(",")]


def _secrets(rotation: Rotation, hands: Hands) -> tuple[str, str]:
    """The old one's and the new one's. Raises RotationError."""
    found = [
        hands.safe.read(secret_name("endpoint", rotation.facts[which])) or ""
        for which in ("old", "new")
    ]
    if not all(found):
        raise RotationError(
            "rotation-secret-lost",
            "An endpoint's secret is not kept here any more.",
            hint="shimmy-ops provision --apply --write-env makes a new endpoint.",
        )
    return found[0], found[1]


def _believed(rotation: Rotation, hands: Hands) -> Done:
    answers = [hands.believers.webhook(secret) for secret in _secrets(rotation, hands)]
    if all(one in _ACCEPTED for one in answers):
        return Done("events signed with either are taken")
    raise RotationError(
        "rotation-not-believed",
        f"Events signed with the old and the new secret are answered {answers[0]} and "
        f"{answers[1]}.",
        hint="Does the store read the environment file that was named?",
    )


def _quiet(rotation: Rotation, found: Found, hands: Hands) -> Done | Waiting:
    """What came later, the new endpoint hears as well: only what was before it counts."""
    left = hands.believers.pending(int(rotation.facts["heard"]))
    if left:
        return Waiting(f"{left} events are still being delivered to the old endpoint")
    old, new = (_endpoint(found, rotation.facts[which]) for which in ("old", "new"))
    _change(old, {"status": "disabled", "metadata": {"shimmy": _PREVIOUS}}, hands)
    _change(new, {"metadata": {"shimmy": MARK}}, hands)
    return Done("it is switched off; what Stripe tells goes to the new one")


def _refused(rotation: Rotation, hands: Hands) -> Done:
    old, new = (hands.believers.webhook(one) for one in _secrets(rotation, hands))
    if new in _ACCEPTED and old not in _ACCEPTED:
        return Done(f"the old one is answered {old}, the new one {new}")
    raise RotationError(
        "rotation-old-believed",
        f"The old secret is answered {old}, the new one {new}.",
        hint="Does the store read the environment file that was named?",
    )


def _end(rotation: Rotation, found: Found, hands: Hands) -> Done:
    old = rotation.facts["old"]
    if any(one["id"] == old for one in found.billing.endpoints):
        hands.accounts.billing.perform(Step("retire", "endpoint", _PREVIOUS, old), "")
    hands.safe.forget(secret_name("endpoint", old))
    return Done(f"endpoint {old} is gone")


def _endpoint(found: Found, identifier: str) -> Object:
    for one in found.billing.endpoints:
        if one["id"] == identifier:
            return one
    raise RotationError(
        "rotation-endpoint-gone",
        f"Endpoint {identifier} is gone at Stripe.",
        hint="Somebody else removed it: shimmy-ops provision --apply --write-env makes a new one.",
    )


def _change(endpoint: Object, wanted: dict[str, Any], hands: Hands) -> None:
    if any(endpoint.get(name) != value for name, value in wanted.items()):
        step = Step("change", "endpoint", _mark(endpoint), endpoint["id"], wanted)
        hands.accounts.billing.perform(step, hands.attempt())


def _mark(endpoint: Object) -> str:
    return str((endpoint["metadata"] or {}).get("shimmy", ""))
