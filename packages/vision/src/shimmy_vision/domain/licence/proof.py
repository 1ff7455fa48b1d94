"""Reading the kept machine file, once: it does not change, and a signature check costs time."""

from __future__ import annotations

from functools import lru_cache

from shimmy_vision.domain.licence.certificate import LicenceProof, NoProof, open_machine_file


@lru_cache(maxsize=8)
def read_proof(
    certificate: str, licence_key: str, fingerprint: str, public_key: str
) -> LicenceProof | NoProof | None:
    """What a kept machine file proves; None for an empty one."""
    if not certificate:
        return None
    return open_machine_file(
        certificate, licence_key=licence_key, fingerprint=fingerprint, public_key=public_key
    )
