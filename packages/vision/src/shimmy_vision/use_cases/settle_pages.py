"""After an analysis: its pages are done and wait to be counted, or they never happened."""

from __future__ import annotations

from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.use_cases.admit_pages import Admission


def settle_pages(admission: Admission, licensing: Licensing, *, done: bool) -> None:
    """Commit the pages of a success, release those of a failure. Raises LicenceStateError."""
    if not admission.metered and not done:
        return
    if admission.metered and done:
        _count(admission, licensing)
        return
    with licensing.state.session(admission.key) as session:
        if done:
            session.tally(admission.pages)
        else:
            session.release(admission.pages.id)


def _count(admission: Admission, licensing: Licensing) -> None:
    """Here, unless another machine of the fleet counts the very same pages."""
    key, pages = admission.key, admission.pages
    with licensing.claims.counting(key, pages) as ours, licensing.state.session(key) as session:
        if ours:
            session.commit(pages)
        else:
            session.release(pages.id)
