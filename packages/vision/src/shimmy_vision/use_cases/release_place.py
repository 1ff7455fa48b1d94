"""Give this machine's place in its licence back, before the program leaves the machine."""

from __future__ import annotations

from shimmy_vision.domain.licence.licence_facts import Machine
from shimmy_vision.errors import LicenceError, LicenceServerError, LicenceStateError
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.use_cases.deactivate_machine import deactivate_machine


def release_place(licensing: Licensing) -> Machine | LicenceError | None:
    """The machine that was deactivated; None where no key is in use.

    A licence that the server refuses needs no place: its refusal is returned. Raises LicenceError
    where it is not known whether a place is taken: the server was not heard, or the record is
    damaged.
    """
    key = licensing.key()
    if key is None:
        return None
    try:
        return deactivate_machine(None, key, licensing)
    except (LicenceServerError, LicenceStateError):
        raise
    except LicenceError as refused:
        return refused
