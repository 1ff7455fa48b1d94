"""The key in use, on a state that can be used."""

from __future__ import annotations

from shimmy_vision.domain.licence.access import MACHINE_CHANGED, NO_LICENCE
from shimmy_vision.errors import LicenceStateError
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.use_cases.refuse_access import refuse_access


def heal_state(licensing: Licensing) -> str:
    """The key that was given, or the one kept for this machine.

    With a given key a damaged state is set aside: everything can be confirmed anew. Without one
    the key is lost with the state, and the user has to give it again. Raises LicenceError.
    """
    try:
        return _key(licensing)
    except LicenceStateError as error:
        if error.code != "licence-state-damaged" or licensing.given_key is None:
            raise
        licensing.state.set_aside()
        return _key(licensing)


def _key(licensing: Licensing) -> str:
    key = licensing.key()
    if key is None:
        foreign = licensing.state.foreign_key() is not None
        raise refuse_access(MACHINE_CHANGED if foreign else NO_LICENCE, licensing)
    with licensing.state.session(key):
        return key
