"""Replace a secret, a step after the other, while the store goes on selling."""

from __future__ import annotations

from shimmy_ops.domain.rotation.sequence import TITLES, Kind, kept_name
from shimmy_ops.domain.rotation.state import Done, Rotation, Waiting
from shimmy_ops.domain.wanted import Desired
from shimmy_ops.errors import RotationError
from shimmy_ops.use_cases.find_state import find_state
from shimmy_ops.use_cases.take_given_rotation import take_given_rotation
from shimmy_ops.use_cases.take_made_rotation import take_made_rotation
from shimmy_ops.use_cases.take_token_rotation import take_token_rotation
from shimmy_ops.use_cases.take_webhook_rotation import take_webhook_rotation
from shimmy_ops.use_cases.tell_store import Hands


def rotate_secret(kind: Kind, desired: Desired, hands: Hands) -> Waiting | None:
    """None where all steps are done, or what is waited for. Cut off anywhere, it goes on.

    Raises OpsError; what was done until then is noted.
    """
    rotation = hands.states.read(kind)
    if rotation is None or rotation.next_step is None:
        _refuse_half_released(hands)
        rotation = Rotation(kind, hands.yard.now().isoformat())
    asked = None
    while rotation.next_step is not None:
        step = rotation.next_step
        if step != asked:
            hands.yard.witness.begin()
        asked = step
        took = _take(rotation, desired, hands)
        rotation = rotation.noted(took.facts)
        if isinstance(took, Done):
            rotation = rotation.after(step, hands.yard.now().isoformat(), took.said)
            hands.yard.told(f"{TITLES[step]}: {took.said}")
        hands.states.save(rotation)
        if isinstance(took, Waiting) and not (step == "old-quiet" and hands.yard.witness.pause()):
            return took
    # Only now: a run that is cut off before needs them.
    hands.safe.forget(kept_name(kind, "old"))
    hands.safe.forget(kept_name(kind, "new"))
    return None


def _take(rotation: Rotation, desired: Desired, hands: Hands) -> Done | Waiting:
    accounts = hands.accounts
    match rotation.kind:
        case "webhook-secret" | "keygen-token":
            found = find_state(desired, accounts.billing, accounts.licensing, accounts.safe)
            if rotation.kind == "keygen-token":
                return take_token_rotation(rotation, desired, found, hands)
            return take_webhook_rotation(rotation, desired, found, hands)
        case "stripe-key" | "mail":
            return take_given_rotation(rotation, hands)
        case _:
            return take_made_rotation(rotation, hands)


def _refuse_half_released(hands: Hands) -> None:
    if hands.yard.shelf.state().journal is not None:
        raise RotationError(
            "rotation-release-unfinished",
            "A release is half in place.",
            hint="shimmy-ops release resume ends that first.",
        )
