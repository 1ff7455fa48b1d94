"""Put a licence key to use on this machine."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from shimmy_vision.domain.licence.certificate import LicenceProof
from shimmy_vision.domain.licence.licence_facts import Denial
from shimmy_vision.domain.licence.refusals import explain_denial
from shimmy_vision.errors import LicenceError, LicenceServerError
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.use_cases.confirm_licence import (
    Confirmation,
    Confirmed,
    Unheard,
    confirm_licence,
)
from shimmy_vision.use_cases.refuse_access import refuse_access
from shimmy_vision.use_cases.sync_pages import sync_pages
from shimmy_vision.use_cases.use_sound_state import use_sound_state


def activate_licence(key: str, licensing: Licensing) -> LicenceProof:
    """Validate, activate, check out, and keep ``key`` as this machine's.

    A key that the server knows is kept even when it is refused, so that ``machines`` and
    ``deactivate`` work without typing it again; but it never takes the place of another one. A
    damaged state is set aside first. Raises LicenceError with reason and remedy.
    """
    outcome = use_sound_state(licensing, lambda: _confirm(key, licensing), key_at_hand=True)
    match outcome:
        case Confirmed(proof=proof):
            _report_pages_of_another(key, licensing)
            _keep_key(key, licensing)
            return proof
        case Denial():
            kept = licensing.state.kept_key()
            if outcome.licence and kept is None:
                _keep_key(key, licensing)
            refused = explain_denial(outcome, licensing.licensor, licensing.fingerprint)
            if kept not in (None, key):
                reason = f"{refused.reason} The key activated before stays in use."
                refused = replace(refused, reason=reason)
            raise refuse_access(refused, licensing)
        case Unheard(error=error):
            raise LicenceServerError(
                "activation-unheard",
                f"The licence was not activated: {error.message}.",
                hint=error.hint,
                sent=error.sent,
            )


def _check_that_it_can_be_kept(licensing: Licensing) -> None:
    """Before a machine's place is taken for a licence that is forgotten at once."""
    if not licensing.state.durable:
        raise LicenceError(
            "licence-not-kept",
            "The licence cannot be kept: the folder for it cannot be written.",
            hint="Make it writable or name another one, SHIMMY_STATE_DIR. Where there is no disk, "
            "give SHIMMY_LICENSE_KEY and SHIMMY_MACHINE_ID to each command instead.",
        )


def _report_pages_of_another(key: str, licensing: Licensing) -> None:
    """Pages of the key that was kept until now can only be reported while it still is."""
    before = licensing.state.kept_key()
    if before is not None and before != key:
        with suppress(LicenceError):
            sync_pages(before, licensing, force=True)


def _confirm(key: str, licensing: Licensing) -> Confirmation:
    _check_that_it_can_be_kept(licensing)
    outcome = confirm_licence(key, licensing, activate=True)
    if outcome is None:
        raise TypeError("a confirmation without a condition always has an outcome")
    return outcome


def _keep_key(key: str, licensing: Licensing) -> None:
    with licensing.state.session(key, durable=True) as session:
        session.keep_key()
