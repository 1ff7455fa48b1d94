"""Tell the store a secret, have it begin anew, and take that back where it is not well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shimmy_ops.domain.profile import Profile
from shimmy_ops.domain.rotation.state import Done, Rotation, Waiting
from shimmy_ops.errors import RotationError
from shimmy_ops.ports.rotation import Believers, RotationStates, StoreSecrets
from shimmy_ops.ports.safe import Safe
from shimmy_ops.use_cases.apply_provision import Accounts
from shimmy_ops.use_cases.await_store import await_store
from shimmy_ops.use_cases.put_in_place import Yard


@dataclass(frozen=True, slots=True)
class Hands:
    """What replacing a secret is done with.

    ``begins_anew``  telling the store is enough to have it begin anew, by command or by its host
    ``given``        what the operator gave as the new one, empty where it is made
    ``attested``     who says that what nobody can look up is done, empty where nobody does
    ``at_once``      nothing that the old one signed is waited for
    ``fresh``        a secret that nobody can guess; ``attempt``  what no other run says
    """

    profile: Profile
    yard: Yard
    secrets: StoreSecrets
    states: RotationStates
    believers: Believers
    accounts: Accounts
    begins_anew: bool
    fresh: Callable[[], str]
    attempt: Callable[[], str]
    given: Callable[[], str]
    attested: str = ""
    at_once: bool = False

    @property
    def safe(self) -> Safe:
        """Where secrets are kept meanwhile."""
        return self.accounts.safe


def tell_store(rotation: Rotation, before: str, value: str, hands: Hands) -> Done | Waiting:
    """The store runs with ``value``, or is waited for; ``before`` is what it ran with.

    The same again is harmless. Raises RotationError: `rotation-returned` where the store was not
    well with it and is with what was before, `rotation-not-well` where it is not with that either.
    """
    name = f"started-{rotation.next_step}"
    started = rotation.facts.get(name) or hands.yard.witness.started()
    told = hands.secrets.read(rotation.variable) == value and name in rotation.facts
    if not told or hands.begins_anew:
        hands.secrets.tell(rotation.variable, value)
    if not hands.begins_anew:
        return _watch(started, name, hands, told=told)
    problem = hands.yard.places.restart() or await_store(hands.yard, started)
    if not problem:
        return Done("the store began anew and is well")
    _take_back(rotation, before, problem, hands)
    raise RotationError(
        "rotation-returned",
        f"The store is not well with it: {problem}. It runs with what it had before.",
        hint="Mend that, and run the same command again.",
    )


def _watch(started: str, name: str, hands: Hands, *, told: bool) -> Done | Waiting:
    """Somebody else has the store begin anew."""
    facts = {name: started or "untold"}
    seen = hands.yard.witness.started()
    if told and (hands.attested or (started != "untold" and seen not in ("", started))):
        return Done("the store was started anew")
    return Waiting("start the store anew, and run the same command again", facts)


def _take_back(rotation: Rotation, before: str, problem: str, hands: Hands) -> None:
    """Raises RotationError."""
    hands.yard.told(f"failed: {problem}")
    hands.secrets.tell(rotation.variable, before)
    again = hands.yard.places.restart() or await_store(hands.yard, "")
    if again:
        raise RotationError(
            "rotation-not-well",
            f"The store is not well with the new one ({problem}), and neither with the old: "
            f"{again}.",
            hint="It is told the old one. Look at its log, and at Stripe and Keygen.",
        )
