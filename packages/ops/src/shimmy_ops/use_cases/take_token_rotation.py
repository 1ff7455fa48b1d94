"""The store's token at Keygen: both work there until the old one is revoked."""

from __future__ import annotations

from shimmy_ops.domain.drift import drift
from shimmy_ops.domain.licensing_steps import our_tokens
from shimmy_ops.domain.rotation.sequence import VARIABLES
from shimmy_ops.domain.rotation.state import Done, Rotation, Waiting
from shimmy_ops.domain.steps import Found, Step, secret_name
from shimmy_ops.domain.wanted import TOKEN_NAME, Desired, wanted_token
from shimmy_ops.errors import RotationError
from shimmy_ops.use_cases.tell_store import Hands, tell_store

_VARIABLE = VARIABLES["keygen-token"]


def take_token_rotation(
    rotation: Rotation, desired: Desired, found: Found, hands: Hands
) -> Done | Waiting:
    """The next step. Raises OpsError."""
    match rotation.next_step:
        case "new-made":
            return _make(desired, found, hands)
        case "new-works":
            tried = hands.believers.licence_token(_secret(rotation, "new", hands))
            if tried == "works":
                return Done("Keygen lets it in")
            raise RotationError("rotation-new-refused", f"The new token: {tried} by Keygen.")
        case "new-told":
            old, new = (_secret(rotation, which, hands) for which in ("old", "new"))
            return tell_store(rotation, old, new, hands)
        case _:
            return _end(rotation, found, hands)


def _make(desired: Desired, found: Found, hands: Hands) -> Done:
    used, others = our_tokens(desired, found)
    if used is None:
        raise RotationError(
            "rotation-nothing-old",
            "There is no token whose secret is kept here.",
            hint="shimmy-ops provision --apply --write-env makes one.",
        )
    if hands.safe.read(secret_name("token", used["id"])) != hands.secrets.read(_VARIABLE):
        raise RotationError(
            "rotation-store-told-another",
            f"The store is told another token than {used['id']}.",
            hint="Write its environment anew (shimmy-ops provision --write-env), and release that.",
        )
    wanted = wanted_token(desired.profile)
    for one in others:
        if hands.safe.read(secret_name("token", one["id"])) and not drift(one, wanted):
            return Done(f"token {one['id']}", {"old": used["id"], "new": one["id"]})
        # It was shown to a run that was cut off.
        hands.accounts.licensing.perform(Step("retire", "token", TOKEN_NAME, one["id"]))
    step = Step("create", "token", TOKEN_NAME, "", wanted)
    made = hands.accounts.licensing.perform(step)
    hands.safe.keep(secret_name("token", made.id), made.secret)
    return Done(f"token {made.id}", {"old": str(used["id"]), "new": made.id})


def _secret(rotation: Rotation, which: str, hands: Hands) -> str:
    found = hands.safe.read(secret_name("token", rotation.facts[which]))
    if found is None:
        raise RotationError(
            "rotation-secret-lost",
            f"The {which} token is not kept here any more.",
            hint="shimmy-ops provision --apply --write-env makes a new one.",
        )
    return found


def _end(rotation: Rotation, found: Found, hands: Hands) -> Done:
    old = rotation.facts["old"]
    if any(one["id"] == old for one in found.licensing.tokens):
        hands.accounts.licensing.perform(Step("retire", "token", TOKEN_NAME, old))
    secret = hands.safe.read(secret_name("token", old))
    if secret and hands.believers.licence_token(secret) != "refused":
        raise RotationError(
            "rotation-old-believed",
            "Keygen still lets the old token in.",
            hint="Run the same command again.",
            retryable=True,
        )
    hands.safe.forget(secret_name("token", old))
    return Done(f"token {old} is revoked, and refused")
