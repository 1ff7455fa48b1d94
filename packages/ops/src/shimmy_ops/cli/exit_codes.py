"""The one table from errors to exit codes: what to do about each differs."""

from __future__ import annotations

from shimmy_ops.errors import ContractError, OpsError, ProfileError

DONE, REFUSED, SET_UP, PENDING, LATER, INTERRUPTED = 0, 1, 2, 3, 75, 130


def exit_code(error: OpsError) -> int:
    """2: mend the set-up; 75: run it again; 1: look at what was refused."""
    if isinstance(error, ProfileError | ContractError):
        return SET_UP
    return LATER if error.retryable else REFUSED
