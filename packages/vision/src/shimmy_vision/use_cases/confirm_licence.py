"""Ask the licence server whether this machine may go on, and keep what it signed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias, assert_never

from shimmy_vision.domain.licence.access import MACHINE_PASSING
from shimmy_vision.domain.licence.certificate import (
    DEFAULT_GRACE,
    LicenceProof,
    NoProof,
    open_machine_file,
)
from shimmy_vision.domain.licence.licence_facts import Denial, Valid
from shimmy_vision.domain.licence.proof import read_proof
from shimmy_vision.domain.licence.refusals import NOT_ACTIVATED
from shimmy_vision.errors import LicenceServerError
from shimmy_vision.ports.licence_server import MachineToActivate
from shimmy_vision.ports.licence_state import LicenceRecord
from shimmy_vision.ports.licensing import OTHERS_WAIT, Licensing
from shimmy_vision.use_cases.refuse_access import refuse_access


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The server's signed yes: a machine file and what it proves."""

    certificate: str
    proof: LicenceProof


@dataclass(frozen=True, slots=True)
class Unheard:
    """The server could not be heard: ``error`` says why; what was kept still stands."""

    error: LicenceServerError


Confirmation: TypeAlias = Confirmed | Denial | Unheard


def confirm_licence(
    key: str,
    licensing: Licensing,
    *,
    activate: bool = False,
    judged: LicenceRecord | None = None,
    wait: float = OTHERS_WAIT,
) -> Confirmation | None:
    """Validate, activate if need be, check out a machine file; what came of it is kept.

    ``activate`` adds this machine to the licence even where it was removed before; without it only
    a key that was never activated here is. With ``judged``, the record that made the caller ask,
    None comes back where another process has tried since. ``wait`` is how many seconds another
    process that is at it is waited for: then with 0 None comes back too, and else the server is
    asked anyway, since asking twice does no harm. Raises LicenceStateError, and LicenceError where
    this machine must not be activated.
    """
    with licensing.state.alone(wait) as alone:
        with licensing.state.session(key) as session:
            record = session.record
        if judged is not None and (record.tried != judged.tried or not (alone or wait)):
            return None
        try:
            outcome = _ask(key, licensing, record, activate=activate or not record.certificate)
        except LicenceServerError as error:
            outcome = Unheard(error)
        _keep(key, licensing, outcome)
    return outcome


def _ask(key: str, licensing: Licensing, record: LicenceRecord, *, activate: bool) -> Confirmation:
    server, fingerprint = licensing.server, licensing.fingerprint
    verdict = server.validate(key, fingerprint)
    if isinstance(verdict, Denial) and verdict.code in NOT_ACTIVATED and activate:
        refused = _activate(key, licensing, verdict)
        if refused is not None:
            return refused
        verdict = server.validate(key, fingerprint)
    if isinstance(verdict, Valid):
        return _check_out(key, licensing, record)
    return _with_machines(key, licensing, verdict)


def _activate(key: str, licensing: Licensing, verdict: Denial) -> Denial | None:
    if not licensing.lasting:
        raise refuse_access(MACHINE_PASSING, licensing)
    machine = MachineToActivate(
        verdict.licence, licensing.fingerprint, licensing.machine_name, licensing.platform
    )
    activated = licensing.server.activate(key, machine)
    if not isinstance(activated, Denial):
        return None
    limit = verdict.max_machines
    denial = replace(activated, licence=verdict.licence, max_machines=limit)
    return _with_machines(key, licensing, denial)


def _with_machines(key: str, licensing: Licensing, denial: Denial) -> Denial:
    if denial.code != "TOO_MANY_MACHINES":
        return denial
    machines = licensing.server.machines(key)
    return denial if isinstance(machines, Denial) else replace(denial, machines=machines)


def _check_out(key: str, licensing: Licensing, record: LicenceRecord) -> Confirmed | Denial:
    """Twice where the policy's grace turns out to be another one than the last known."""
    fingerprint, public_key = licensing.fingerprint, licensing.licensor.public_key
    known = read_proof(record.certificate, key, fingerprint, public_key)
    grace = known.grace if isinstance(known, LicenceProof) else DEFAULT_GRACE
    while True:
        certificate = licensing.server.check_out(key, fingerprint, grace)
        if isinstance(certificate, Denial):
            return certificate
        proof = open_machine_file(
            certificate, licence_key=key, fingerprint=fingerprint, public_key=public_key
        )
        if isinstance(proof, NoProof):
            raise LicenceServerError(
                "licence-server-not-genuine",
                f"the machine file it issued is unusable, as {proof.problem}",
                hint="Try again later.",
            )
        if proof.grace <= grace:
            return Confirmed(certificate, proof)
        grace = proof.grace


def _keep(key: str, licensing: Licensing, outcome: Confirmation) -> None:
    now = licensing.now()
    with licensing.state.session(key, durable=not isinstance(outcome, Unheard)) as session:
        match outcome:
            case Unheard(error=error):
                session.update(tried=now, trouble=error.message)
            case Denial():
                session.update(tried=now, trouble="", denial=outcome)
            case Confirmed(certificate=certificate, proof=proof):
                # The signed time replaces the latest seen one, also backwards: this is how a
                # clock that once ran ahead is forgiven.
                session.update(
                    tried=now,
                    trouble="",
                    denial=None,
                    certificate=certificate,
                    latest_seen=proof.issued,
                    counted=proof.facts.uses,
                )
            case _:
                assert_never(outcome)
