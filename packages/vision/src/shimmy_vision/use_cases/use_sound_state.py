"""Work on the licence state, which is set aside where it is damaged and can be made anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from shimmy_vision.errors import LicenceStateError
from shimmy_vision.ports.licensing import Licensing

T = TypeVar("T")


def use_sound_state(licensing: Licensing, work: Callable[[], T], *, key_at_hand: bool) -> T:
    """What ``work`` returns, done again on a new state if the old one turns out to be damaged.

    With the key at hand everything can be confirmed anew. Without it the key is lost with the
    state, and the user has to give it again: then the error stands.
    """
    try:
        return work()
    except LicenceStateError as error:
        if error.code != "licence-state-damaged" or not key_at_hand:
            raise
        licensing.state.set_aside()
        return work()
