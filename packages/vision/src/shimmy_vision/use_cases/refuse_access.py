"""A refusal as the error that every entry point shows."""

from __future__ import annotations

from shimmy_vision.domain.licence.licence_facts import Denial
from shimmy_vision.domain.licence.refusals import Refused, explain_denial, see_plans
from shimmy_vision.errors import LicenceError
from shimmy_vision.ports.licensing import Licensing


def refuse_access(refused: Refused | Denial, licensing: Licensing) -> LicenceError:
    """Reason and remedy, with a link to the plans in any case, and SANDBOX where it is one."""
    if isinstance(refused, Denial):
        refused = explain_denial(refused, licensing.licensor, licensing.fingerprint)
    remedy = refused.remedy
    if licensing.licensor.pricing_url not in remedy:
        # After a dash: a full stop behind a command would be copied with it.
        remedy = f"{remedy.rstrip('.')} — {see_plans(licensing.licensor)}"
    if licensing.licensor.sandbox:
        remedy = f"{remedy} (SANDBOX build: it accepts simulated licences only.)"
    return LicenceError(refused.code, refused.reason, hint=remedy)
