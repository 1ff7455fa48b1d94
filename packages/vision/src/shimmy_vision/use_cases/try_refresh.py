"""Hear the licence server's word if it can be heard."""

from __future__ import annotations

from shimmy_vision.errors import LicenceError, LicenceServerError, LicenceStateError
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.use_cases.refresh_licence import refresh_licence


def try_refresh(key: str, licensing: Licensing) -> LicenceServerError | None:
    """Why it could not be heard; None where it was, and its word, whatever it is, is kept.

    Raises LicenceStateError.
    """
    try:
        refresh_licence(key, licensing)
    except LicenceServerError as error:
        return error
    except LicenceStateError:
        raise
    except LicenceError:
        pass  # A signed no is kept, and the licence's standing tells of it.
    return None
