"""Hear the licence server's word now, and report what pages wait."""

from __future__ import annotations

from contextlib import suppress

from shimmy_vision.domain.licence.licence_facts import Denial
from shimmy_vision.errors import LicenceError, LicenceServerError
from shimmy_vision.ports.licensing import OTHERS_WAIT, Licensing
from shimmy_vision.use_cases.confirm_licence import Unheard, confirm_licence
from shimmy_vision.use_cases.refuse_access import refuse_access
from shimmy_vision.use_cases.sync_pages import Synced, sync_pages


def refresh_licence(key: str, licensing: Licensing) -> Synced:
    """Confirm and synchronise; what became of the pages.

    Raises LicenceError for a signed no, LicenceServerError when the server cannot be heard: what
    was kept stands then, and ``status`` tells how long.
    """
    outcome = confirm_licence(key, licensing)
    if isinstance(outcome, Denial):
        with suppress(LicenceError):  # Pages of a machine that was removed are pages all the same.
            sync_pages(key, licensing, force=True, wait=OTHERS_WAIT)
        raise refuse_access(outcome, licensing)
    if isinstance(outcome, Unheard):
        raise LicenceServerError(
            "refresh-unheard",
            f"The licence was not confirmed: {outcome.error.message}.",
            hint=outcome.error.hint,
        )
    return sync_pages(key, licensing, force=True, wait=OTHERS_WAIT)
