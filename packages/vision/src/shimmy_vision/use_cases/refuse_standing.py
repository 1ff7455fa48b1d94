"""Would an analysis be refused now, and why?"""

from __future__ import annotations

from shimmy_vision.domain.licence.metering import judge_pages
from shimmy_vision.domain.licence.refusals import Refused
from shimmy_vision.errors import LicenceError
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.use_cases.read_standing import Standing
from shimmy_vision.use_cases.refuse_access import refuse_access


def refuse_standing(standing: Standing, licensing: Licensing) -> LicenceError | None:
    """The error that an analysis of one image would meet, if it would meet one."""
    access, proof = standing.access, standing.evidence.proof
    if isinstance(access, Refused):
        return refuse_access(access, licensing)
    if proof is not None:
        judged = judge_pages(proof, standing.usage, 1, licensing.licensor, licensing.now())
        if isinstance(judged, Refused):
            return refuse_access(judged, licensing)
    return None
