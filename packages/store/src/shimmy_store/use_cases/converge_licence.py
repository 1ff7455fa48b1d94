"""Bring the licence at Keygen to what it should be, however far somebody else got before."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from shimmy_store.domain.convergence import Create, IssuedLicence, plan_convergence
from shimmy_store.domain.fulfilment import Licence
from shimmy_store.errors import LicensingError
from shimmy_store.ports.licences import Licences

# Creation, then what is left, then a look that finds nothing; once more for somebody else's hand.
_ROUNDS = 4


async def converge_licence(
    wanted: Licence, customer: str, licences: Licences, now: Callable[[], datetime]
) -> IssuedLicence:
    """The licence as it is once nothing is left to do.

    Raises LicensingError; beginning again is always right. A licence of this id that another
    customer has is ``licence-not-ours`` and is left as it is.
    """
    for _ in range(_ROUNDS):
        issued = await licences.find(wanted.id)
        if issued is not None and issued.metadata.get("customer") != customer:
            raise LicensingError(
                "licence-not-ours",
                f"The licence {wanted.id} belongs to another customer.",
                hint="Look at both customers: shimmy-store has changed nothing.",
            )
        steps = plan_convergence(wanted, customer, issued, now())
        if issued is not None and not steps:
            return issued
        for step in steps:
            if isinstance(step, Create):
                if await licences.create(step) == "exists":
                    break  # Somebody made it meanwhile: look whose it is, then go on from there.
            else:
                await licences.change(wanted.id, step)
    raise LicensingError(
        "licence-not-settled",
        f"The licence {wanted.id} is changed by somebody else at the same time.",
        hint="It is tried again later.",
        retryable=True,
    )
