"""The one place where SQLite's failures, and the disk's, become the licence state's."""

from __future__ import annotations

from filelock import Timeout

from shimmy_vision.adapters.licence.licence_tables import damaged
from shimmy_vision.errors import LicenceStateError

_BUSY = frozenset({"SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL"})
UNUSABLE = frozenset({"SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH"})


def translated(error: Exception, busy_seconds: float) -> LicenceStateError:
    """What a failure of SQLite or the disk means; ``busy_seconds`` were waited for others."""
    if isinstance(error, LicenceStateError):
        return error
    kind = kind_of(error)
    if kind in _BUSY or isinstance(error, Timeout):
        return LicenceStateError(
            "licence-state-busy",
            f"Another program has kept the licence record locked for {busy_seconds:g} seconds.",
            hint="Try again; if it persists, end the other shimmy processes.",
            retryable=True,
        )
    if kind in ("SQLITE_FULL", "SQLITE_IOERR", *UNUSABLE) or isinstance(error, OSError):
        return LicenceStateError(
            "licence-state-not-written",
            f"The licence record cannot be used: {getattr(error, 'strerror', None) or error}.",
            hint="Free disk space, or name a folder of your own: SHIMMY_STATE_DIR.",
        )
    return damaged()


def kind_of(error: Exception) -> str:
    """SQLite's error code without its details; empty for what Python's module raises itself."""
    name = getattr(error, "sqlite_errorname", None) or ""
    return "_".join(name.split("_")[:2])
