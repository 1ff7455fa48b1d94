"""The machines a licence is activated on."""

from __future__ import annotations

from shimmy_vision.domain.licence.licence_facts import Denial, Machine
from shimmy_vision.errors import LicenceServerError
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.use_cases.refuse_access import refuse_access


def list_machines(key: str, licensing: Licensing) -> tuple[Machine, ...]:
    """Oldest first, as the server has them now. Raises LicenceError."""
    try:
        machines = licensing.server.machines(key)
    except LicenceServerError as error:
        raise LicenceServerError(
            "machines-unheard",
            f"The machines could not be listed: {error.message}.",
            hint=error.hint,
        ) from error
    if isinstance(machines, Denial):
        raise refuse_access(machines, licensing)
    return machines
