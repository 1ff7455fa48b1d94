"""What only the operator can make new: the store's key of Stripe's, and its mail server's."""

from __future__ import annotations

from shimmy_ops.domain.credentials import STRIPE_KEY, check_credential
from shimmy_ops.domain.rotation.sequence import kept_name
from shimmy_ops.domain.rotation.state import Done, Rotation, Waiting
from shimmy_ops.errors import RotationError
from shimmy_ops.use_cases.tell_store import Hands, tell_store


def take_given_rotation(rotation: Rotation, hands: Hands) -> Done | Waiting:
    """The next step. Raises OpsError."""
    match rotation.next_step:
        case "new-works":
            return _try(rotation, hands)
        case "new-told":
            return _tell(rotation, hands)
        case _:
            return _end(rotation, hands)


def _try(rotation: Rotation, hands: Hands) -> Done:
    old, new = hands.secrets.read(rotation.variable), hands.given()
    if new == old:
        raise RotationError(
            "rotation-same", "The one that was given is the one that the store has already."
        )
    if rotation.kind == "stripe-key":
        check_credential(hands.profile.name, STRIPE_KEY, new)
        tried, lacking = hands.believers.stripe_key(new), hands.believers.stripe_rights(new)
    else:
        tried, lacking = hands.believers.mailer(new), []
    if tried == "refused" or lacking:
        raise RotationError(
            "rotation-new-refused",
            f"The new one does not do: {', '.join(lacking) or 'it is not let in'}.",
            hint="It was not used. docs/deploy.md says what it must be allowed.",
        )
    hands.safe.keep(kept_name(rotation.kind, "old"), old)
    hands.safe.keep(kept_name(rotation.kind, "new"), new)
    said = "it is let in" if tried == "works" else "it cannot be tried before the store uses it"
    return Done(said)


def _tell(rotation: Rotation, hands: Hands) -> Done | Waiting:
    old, new = (_kept(rotation, which, hands) for which in ("old", "new"))
    told = tell_store(rotation, old, new, hands)
    if isinstance(told, Waiting) or rotation.kind != "mail":
        return told
    problem = hands.believers.mail()
    if problem:
        tell_store(rotation, new, old, hands)
        raise RotationError(
            "rotation-returned",
            f"The store cannot mail with it: {problem} It runs with what it had before.",
            hint="Mend that, and run the same command again.",
        )
    return told


def _kept(rotation: Rotation, which: str, hands: Hands) -> str:
    found = hands.safe.read(kept_name(rotation.kind, "new" if which == "new" else "old"))
    if found is None:
        raise RotationError("rotation-secret-lost", f"The {which} one is not kept here any more.")
    return found


def _end(rotation: Rotation, hands: Hands) -> Done | Waiting:
    old = _kept(rotation, "old", hands)
    stripes = rotation.kind == "stripe-key"
    tried = hands.believers.stripe_key(old) if stripes else hands.believers.mailer(old)
    if tried != "refused" and not hands.attested:
        where = "in Stripe's dashboard" if stripes else "at the mail provider"
        return Waiting(
            "give these tools the new one where they use the same, "
            f"end the old one {where}, then run the same command again: it is tried. Where that "
            "cannot show it, --done-by NAME says so"
        )
    return Done("it is refused" if tried == "refused" else f"{hands.attested} says so")
