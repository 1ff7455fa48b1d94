"""What is known of the licence, without asking the server, for ``shimmy doctor``."""

from __future__ import annotations

from shimmy_vision.domain.diagnosis import Finding, judge_licence
from shimmy_vision.domain.licence.access import NO_LICENCE, Access, Granted
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.use_cases.read_standing import read_standing


def inspect_licence(licensing: Licensing) -> Finding:
    """Raises LicenceStateError."""
    access = _access(licensing)
    given, sandbox = licensing.given_key is not None, licensing.licensor.sandbox
    if isinstance(access, Granted):
        return judge_licence(access.plan, "", "", given=given, sandbox=sandbox)
    return judge_licence("", access.reason, access.remedy, given=given, sandbox=sandbox)


def _access(licensing: Licensing) -> Access:
    key = licensing.key()
    if key is None:
        return NO_LICENCE
    with licensing.state.session(key) as session:
        return read_standing(session, key, licensing, licensing.now()).access
