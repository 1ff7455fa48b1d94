"""The licence gate without an analysis behind it."""

from __future__ import annotations

from shimmy_vision.domain.licence.access import Granted
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.use_cases.admit_pages import admit_pages
from shimmy_vision.use_cases.settle_pages import settle_pages


def pass_gate(licensing: Licensing) -> Granted:
    """Leave to look and to load, for a machine that may analyse a page now; none is counted.

    Raises LicenceError.
    """
    admission = admit_pages(1, licensing)
    settle_pages(admission, licensing, done=False)
    return admission.granted
