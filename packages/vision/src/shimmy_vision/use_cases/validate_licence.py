"""What a program asks before it hands over work: would it be done under this licence?"""

from __future__ import annotations

from typing import Any

from shimmy_vision.domain.licence.access import Granted
from shimmy_vision.errors import LicenceError, LicenceStateError
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.use_cases.choose_key import choose_key
from shimmy_vision.use_cases.read_standing import Standing, read_standing
from shimmy_vision.use_cases.refuse_standing import refuse_standing
from shimmy_vision.use_cases.try_refresh import try_refresh


def validate_licence(licensing: Licensing, *, refresh: bool) -> dict[str, Any]:
    """``valid``, and why not: a missing licence too is an answer. With ``refresh`` the licence

    server is asked first; where it cannot be heard, what was kept stands. Raises LicenceStateError.
    """
    try:
        key = choose_key(licensing)
    except LicenceStateError:
        raise
    except LicenceError as error:
        return _answer(None, error, licensing)
    if refresh:
        try_refresh(key, licensing)
    with licensing.state.session(key) as session:
        standing = read_standing(session, key, licensing, licensing.now())
    return _answer(standing, refuse_standing(standing, licensing), licensing)


def _answer(
    standing: Standing | None, refused: LicenceError | None, licensing: Licensing
) -> dict[str, Any]:
    proof = None if standing is None else standing.evidence.proof
    granted = (
        standing.access if standing is not None and isinstance(standing.access, Granted) else None
    )
    limit = None if proof is None else proof.facts.max_machines
    return {
        "valid": refused is None,
        "code": None if refused is None else refused.code,
        "message": None if refused is None else refused.message,
        "hint": None if refused is None else refused.hint,
        "plan": None if proof is None else proof.facts.plan,
        "expires": None if proof is None else proof.facts.expiry,
        "good_without_server_until": None if granted is None else granted.until,
        "machines_allowed": "unlimited" if proof is not None and limit is None else limit,
        "notices": [
            {"code": one.code, "message": one.message}
            for one in (() if granted is None else granted.notices)
        ],
        "sandbox": licensing.licensor.sandbox,
    }
