"""What we and the store alone know: its secret, the operator's token, the metrics' token."""

from __future__ import annotations

from datetime import datetime

from shimmy_ops.domain.rotation.sequence import SIGNED_FOR, kept_name
from shimmy_ops.domain.rotation.state import Done, Rotation, Waiting
from shimmy_ops.errors import RotationError
from shimmy_ops.use_cases.tell_store import Hands, tell_store


def take_made_rotation(rotation: Rotation, hands: Hands) -> Done | Waiting:
    """The next step. Raises OpsError.

    The old one stands first until the store knows both: these tools use the first.
    """
    if rotation.next_step == "new-made":
        return _make(rotation, hands)
    old, new = _kept(rotation, hands)
    match rotation.next_step:
        case "both-told":
            return tell_store(rotation, old, f"{old},{new}", hands)
        case "new-first":
            told = tell_store(rotation, f"{old},{new}", f"{new},{old}", hands)
            return told if isinstance(told, Waiting) else _dated(told, hands)
        case "both-believed":
            return _believed(rotation, old, new, hands)
        case "old-outlived":
            return _outlived(rotation, hands)
        case "scrapers-told":
            return _scrapers(hands)
        case "new-told":
            return tell_store(rotation, f"{old},{new}", new, hands)
        case _:
            return _refused(rotation, old, new, hands)


def _make(rotation: Rotation, hands: Hands) -> Done:
    old, name = hands.secrets.read(rotation.variable), kept_name(rotation.kind, "new")
    hands.safe.keep(kept_name(rotation.kind, "old"), old)
    if (hands.safe.read(name) or old) in old.split(","):
        # None was made yet, or it is the one of the rotation before.
        hands.safe.keep(name, hands.fresh())
    return Done("it is kept beside the old one")


def _kept(rotation: Rotation, hands: Hands) -> tuple[str, str]:
    old = hands.safe.read(kept_name(rotation.kind, "old"))
    new = hands.safe.read(kept_name(rotation.kind, "new"))
    if old is None or new is None:
        raise RotationError("rotation-secret-lost", "It is not kept here any more.")
    return old, new


def _dated(told: Done, hands: Hands) -> Done:
    until = hands.yard.now() + SIGNED_FOR
    return Done(told.said, {"outlived": until.isoformat()})


def _outlived(rotation: Rotation, hands: Hands) -> Done | Waiting:
    until = datetime.fromisoformat(rotation.facts["outlived"])
    if hands.yard.now() >= until:
        return Done("every link and session that it signed has ended")
    if hands.at_once:
        return Done("links and sessions that it signed end now: it was asked for")
    return Waiting(
        f"links that the old one signed live until {until:%Y-%m-%d %H:%M} UTC: run the same "
        "command then. --at-once ends them now"
    )


def _believes(rotation: Rotation, token: str, hands: Hands) -> bool:
    if rotation.kind == "operator-token":
        return hands.believers.desk(token)
    return hands.believers.metrics(token)


def _believed(rotation: Rotation, old: str, new: str, hands: Hands) -> Done:
    if not (_believes(rotation, old, hands) and _believes(rotation, new, hands)):
        raise RotationError(
            "rotation-not-believed",
            "The store does not believe both.",
            hint="Does it read the environment file that was named?",
        )
    # From here on these tools use the new one.
    hands.secrets.tell(rotation.variable, f"{new},{old}")
    return Done("either opens its door")


def _scrapers(hands: Hands) -> Done | Waiting:
    if hands.attested:
        return Done(f"{hands.attested} says so")
    return Waiting(
        "give Prometheus, and whatever else reads /metrics, the new token (the first of those kept "
        "as metrics-token), then run the same command with --done-by NAME"
    )


def _refused(rotation: Rotation, old: str, new: str, hands: Hands) -> Done:
    if _believes(rotation, old, hands) or not _believes(rotation, new, hands):
        raise RotationError(
            "rotation-old-believed",
            "The store still believes the old one, or not the new one.",
            hint="Does it read the environment file that was named?",
        )
    return Done("the old one opens nothing")
