"""One page through the gate: counted when its analysis succeeded, and only then."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from shimmy_vision.domain.licence.access import Granted
from shimmy_vision.errors import LicenceError, LicenceStateError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.use_cases.admit_pages import Admission, admit_pages
from shimmy_vision.use_cases.settle_pages import settle_pages


@dataclass(frozen=True, slots=True)
class Analysed:
    """A result; ``fresh`` is False where it was kept from before, when its page was counted."""

    result: dict[str, Any]
    fresh: bool


def count_page(
    licensing: Licensing,
    cancellation: Cancellation,
    analyse: Callable[[Granted], Analysed],
    key: str = "",
) -> dict[str, Any]:
    """The result of ``analyse``, once one page is admitted; raises what it does, or LicenceError.

    The page is committed with a fresh result and released otherwise, whatever happens. However
    often a page comes under one ``key``, it is counted once; without a key it is always a new one.
    """
    try:
        admission = admit_pages(1, licensing, key)
    except LicenceError:
        cancellation.check()  # Who ran out of patience is not told of the licence.
        raise
    try:
        analysed = analyse(admission.granted)
    except BaseException:
        # What cannot be released now is released when this process is seen to be gone.
        with suppress(LicenceStateError):
            settle_pages(admission, licensing, done=False)
        raise
    _settle(admission, licensing, analysed)
    return analysed.result


def _settle(admission: Admission, licensing: Licensing, analysed: Analysed) -> None:
    """A result that is there is not lost because it could not be counted."""
    try:
        settle_pages(admission, licensing, done=analysed.fresh)
    except LicenceStateError as error:
        if analysed.fresh:
            warnings = analysed.result["meta"]["warnings"]
            warnings.append({"code": "page-not-counted", "message": error.message})
