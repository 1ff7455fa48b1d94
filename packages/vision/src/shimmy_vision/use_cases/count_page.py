"""One page through the gate: counted when its analysis succeeded, and only then."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from shimmy_vision.domain.licence.access import Granted
from shimmy_vision.errors import LicenceError, LicenceStateError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.use_cases.admit_pages import Admission, admit_pages
from shimmy_vision.use_cases.settle_pages import settle_pages


def count_page(
    licensing: Licensing,
    cancellation: Cancellation,
    analyse: Callable[[Granted], dict[str, Any]],
) -> dict[str, Any]:
    """What ``analyse`` returns, once one page is admitted; raises what it raises, or LicenceError.

    The page is committed with the result and released without one, whatever happens.
    """
    try:
        admission = admit_pages(1, licensing)
    except LicenceError:
        cancellation.check()  # Who ran out of patience is not told of the licence.
        raise
    try:
        result = analyse(admission.granted)
    except BaseException:
        # What cannot be released now is released when this process is seen to be gone.
        with suppress(LicenceStateError):
            settle_pages(admission, licensing, done=False)
        raise
    _commit(admission, licensing, result)
    return result


def _commit(admission: Admission, licensing: Licensing, result: dict[str, Any]) -> None:
    """Count the page. A result that is there is not lost because it could not be counted."""
    try:
        settle_pages(admission, licensing, done=True)
    except LicenceStateError as error:
        result["meta"]["warnings"].append({"code": "page-not-counted", "message": error.message})
