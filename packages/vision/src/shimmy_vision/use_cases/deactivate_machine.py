"""Free a machine's place in the licence."""

from __future__ import annotations

from collections.abc import Sequence

from shimmy_vision.domain.licence.certificate import LicenceProof
from shimmy_vision.domain.licence.licence_facts import Denial, Machine
from shimmy_vision.domain.licence.machine_choice import Ambiguous, choose_machine
from shimmy_vision.domain.licence.proof import read_proof
from shimmy_vision.domain.licence.refusals import list_machines_briefly
from shimmy_vision.errors import LicenceError, LicenceServerError
from shimmy_vision.ports.licensing import OTHERS_WAIT, Licensing
from shimmy_vision.use_cases.list_machines import list_machines
from shimmy_vision.use_cases.refuse_access import refuse_access
from shimmy_vision.use_cases.sync_pages import sync_pages


def deactivate_machine(wanted: str | None, key: str, licensing: Licensing) -> Machine:
    """Deactivate the machine that ``wanted`` names, this one by default; returns it.

    This machine's waiting pages are reported first, and its key is forgotten. Raises LicenceError.
    """
    machines = list_machines(key, licensing)
    if all(one.fingerprint != licensing.fingerprint for one in machines):
        machines = (*machines, *_removed_already(key, licensing))
    chosen = _choose(wanted, machines, licensing)
    ours = chosen.fingerprint == licensing.fingerprint
    if ours:
        sync_pages(key, licensing, force=True, wait=OTHERS_WAIT)
    try:
        removed = licensing.server.deactivate(key, chosen.id)
    except LicenceServerError as error:
        raise LicenceServerError(
            "deactivation-unheard",
            f"The machine may not be deactivated: {error.message}.",
            hint="Try again; deactivating twice does no harm.",
        ) from error
    if isinstance(removed, Denial):
        raise refuse_access(removed, licensing)
    if ours:
        _forget(key, licensing)
    return chosen


def _removed_already(key: str, licensing: Licensing) -> Sequence[Machine]:
    """This machine as it was activated, for whom the reply to removing it was lost."""
    with licensing.state.session(key) as session:
        certificate = session.record.certificate
    proof = read_proof(certificate, key, licensing.fingerprint, licensing.licensor.public_key)
    if not isinstance(proof, LicenceProof):
        return ()
    name, platform = licensing.machine_name, licensing.platform
    return (Machine(proof.machine, licensing.fingerprint, name, platform, None),)


def _choose(wanted: str | None, machines: Sequence[Machine], licensing: Licensing) -> Machine:
    chosen = choose_machine(wanted, machines, licensing.fingerprint)
    if isinstance(chosen, Machine):
        return chosen
    listed = list_machines_briefly(machines) or "none"
    if isinstance(chosen, Ambiguous):
        raise LicenceError(
            "machine-ambiguous",
            f"'{wanted}' names more than one machine: {list_machines_briefly(chosen.machines)}.",
            hint="Give more of the id.",
        )
    what = f"No machine of this licence is called '{wanted}'" if wanted else "This machine is none"
    raise LicenceError(
        "machine-unknown",
        f"{what}; its machines: {listed}." if wanted else f"{what} of the licence's: {listed}.",
        hint="See: shimmy license machines",
    )


def _forget(key: str, licensing: Licensing) -> None:
    now = licensing.now()
    with licensing.state.session(key, durable=True) as session:
        session.update(denial=Denial("NO_MACHINE", "deactivated here", now), tried=now)
        session.forget_key()
