"""Which of a licence's machines does a person mean?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shimmy_vision.domain.licence.licence_facts import Machine

_SHORTEST_PREFIX = 4


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """More than one machine is meant."""

    machines: tuple[Machine, ...]


def choose_machine(
    wanted: str | None, machines: Sequence[Machine], own_fingerprint: str
) -> Machine | Ambiguous | None:
    """By id, by at least four characters of its beginning, or by name; this machine for None.

    Exact ids and names go before beginnings: a machine called like another's id cannot hide it.
    """
    if wanted is None:
        return next((one for one in machines if one.fingerprint == own_fingerprint), None)
    for matches in (
        [one for one in machines if one.id == wanted],
        [one for one in machines if one.name == wanted],
        [one for one in machines if len(wanted) >= _SHORTEST_PREFIX and one.id.startswith(wanted)],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            return Ambiguous(tuple(matches))
    return None
