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

    A whole id is that machine. A name that is also the beginning of another machine's id means
    neither: beginnings are what lists show, and removing the wrong machine is worse than asking.
    """
    if wanted is None:
        return next((one for one in machines if one.fingerprint == own_fingerprint), None)
    exact = next((one for one in machines if one.id == wanted), None)
    if exact is not None:
        return exact
    by_id = len(wanted) >= _SHORTEST_PREFIX
    matches = [
        one for one in machines if one.name == wanted or (by_id and one.id.startswith(wanted))
    ]
    if len(matches) > 1:
        return Ambiguous(tuple(matches))
    return matches[0] if matches else None
