"""After an analysis: its pages are done and wait to be counted, or they never happened."""

from __future__ import annotations

from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.use_cases.admit_pages import Admission


def settle_pages(admission: Admission, licensing: Licensing, *, done: bool) -> None:
    """Commit the pages of a success, release those of a failure. Raises LicenceStateError."""
    if not admission.metered and not done:
        return
    with licensing.state.session(admission.key) as session:
        if not admission.metered:
            session.tally(admission.pages)
        elif done:
            session.commit(admission.pages)
        else:
            session.release(admission.pages.id)
