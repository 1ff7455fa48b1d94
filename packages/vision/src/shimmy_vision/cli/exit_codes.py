"""The one table from errors to exit codes."""

from __future__ import annotations

from shimmy_vision.errors import (
    BusyError,
    DeadlineError,
    ImageError,
    LibraryError,
    LicenceError,
    ModelError,
    OutputError,
    SchemaError,
    ShimmyError,
    StoppedError,
    UsageError,
)

OK = 0
SOME_FAILED = 1
LICENCE = 2
MODEL_OR_LIBRARY = 3
OUTPUT = 4
DEADLINE = 5
USAGE = 64
INTERRUPTED = 130

# Most specific class first: the first match decides.
_TABLE: tuple[tuple[type[ShimmyError], int], ...] = (
    (BusyError, SOME_FAILED),
    (DeadlineError, DEADLINE),
    (StoppedError, INTERRUPTED),
    (LicenceError, LICENCE),
    (ModelError, MODEL_OR_LIBRARY),
    (LibraryError, MODEL_OR_LIBRARY),
    (OutputError, OUTPUT),
    (ImageError, SOME_FAILED),
    (SchemaError, USAGE),
    (UsageError, USAGE),
)

# Another document may have the page, another URL be allowed, a file need neither network nor
# browser, another answer be closed.
_OF_ONE_SOURCE = frozenset(
    (
        *("answer-not-closed", "remote-answer-invalid", "remote-request-refused"),
        *("page-out-of-range", "url-refused", "url-offline"),
        *("playwright-missing", "browser-missing", "browser-failed"),
    )
)


def exit_code(error: ShimmyError) -> int:
    """The exit code of a command that ended with ``error``."""
    return next(code for kind, code in _TABLE if isinstance(error, kind))


def concerns_every_image(error: ShimmyError) -> bool:
    """Whether the next image would fail the same way, so that going on is pointless."""
    if error.code in _OF_ONE_SOURCE:
        return False
    return isinstance(error, (LicenceError, ModelError, LibraryError, SchemaError, UsageError))
