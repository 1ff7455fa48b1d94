"""What is known of a licence right now, without asking anyone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shimmy_vision.domain.licence.access import Access, LicenceEvidence, decide_access
from shimmy_vision.domain.licence.certificate import LicenceProof, NoProof
from shimmy_vision.domain.licence.metering import Usage, period_unheard_of, sum_usage
from shimmy_vision.domain.licence.proof import read_proof
from shimmy_vision.ports.licence_state import LicenceRecord, LicenceSession
from shimmy_vision.ports.licensing import Licensing


@dataclass(frozen=True, slots=True)
class Standing:
    """A licence's record with what follows from it at one moment."""

    record: LicenceRecord
    evidence: LicenceEvidence
    access: Access
    usage: Usage


def read_standing(
    session: LicenceSession, key: str, licensing: Licensing, now: datetime
) -> Standing:
    """Within ``session``, so that what is decided on it can be kept in the same transaction."""
    record = session.record
    proof = read_proof(
        record.certificate, key, licensing.fingerprint, licensing.licensor.public_key
    )
    unusable = (
        f"what is kept of it is unusable, as {proof.problem}" if isinstance(proof, NoProof) else ""
    )
    evidence = LicenceEvidence(
        licensor=licensing.licensor,
        fingerprint=licensing.fingerprint,
        proof=proof if isinstance(proof, LicenceProof) else None,
        denial=record.denial,
        latest_seen=record.latest_seen or now,
        trouble=record.trouble or unusable,
    )
    usage = _usage(session, record, evidence.proof, now)
    return Standing(record, evidence, decide_access(evidence, now), usage)


def _usage(
    session: LicenceSession, record: LicenceRecord, proof: LicenceProof | None, now: datetime
) -> Usage:
    fresh = None if proof is None else period_unheard_of(proof, now)
    if fresh is not None:
        return Usage(0, session.waiting_since(fresh), 0)
    return sum_usage(record.counted, record.waiting, record.reserved, session.batch())
