"""Which licence key is in use?"""

from __future__ import annotations

from shimmy_vision.domain.licence.access import MACHINE_CHANGED, NO_LICENCE
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.use_cases.refuse_access import refuse_access


def choose_key(licensing: Licensing) -> str:
    """The key that was given, or the one kept for this machine. Raises LicenceError for none."""
    key = licensing.key()
    if key is None:
        foreign = licensing.state.foreign_key() is not None
        raise refuse_access(MACHINE_CHANGED if foreign else NO_LICENCE, licensing)
    return key
