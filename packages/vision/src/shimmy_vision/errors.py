"""Every error this distribution raises on purpose.

ShimmyError
├── UsageError       the command or request itself is wrong
├── ImageError       this image cannot be analysed; others may
├── SchemaError      the caller's JSON Schema cannot be honoured
├── LicenceError     no licence, no analysis
│   ├── LicenceServerError  the licence server cannot be heard
│   └── LicenceStateError   what is kept of the licence is damaged or cannot be kept
├── ModelError       the model's files are missing, wrong or damaged
│   └── DownloadError   fetching them failed
├── LibraryError     the native library is missing, broken or crashed
├── BusyError        more is asked of the server at once than it takes
├── OutputError      an answer was produced but cannot be delivered
└── StoppedError     the caller stopped the work
    └── DeadlineError   the time the caller allowed ran out

Each carries a stable kebab-case ``code`` (documented, never reused), a
``message`` that says what happened, a ``hint`` that says what to do next,
``retryable``: whether the same call may succeed later unchanged, and
``retry_after``: in how many seconds, where that is known.
Entry points map classes to exit codes and HTTP statuses in one table each.
"""

from __future__ import annotations

import re


class ShimmyError(Exception):
    """Base of the tree; never raised itself."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str = "",
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.retryable = retryable
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"

    def again(self) -> ShimmyError:
        """The same, to be raised on another thread: each gathers a trace of its own."""
        return error_of_kind(
            kind_of(self),
            self.code,
            self.message,
            hint=self.hint,
            retryable=self.retryable,
            retry_after=self.retry_after,
        )


class UsageError(ShimmyError):
    """The command or request itself is wrong."""


class ImageError(ShimmyError):
    """This image cannot be analysed."""


class SchemaError(ShimmyError):
    """The caller's JSON Schema cannot be honoured."""


class LicenceError(ShimmyError):
    """Access was refused."""


class LicenceServerError(LicenceError):
    """The licence server cannot be heard, which says nothing about the licence.

    ``message`` is a clause without a full stop, to stand inside other sentences; ``sent`` is False
    where the request certainly never went out.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str = "",
        retry_after: float | None = None,
        sent: bool = True,
    ) -> None:
        super().__init__(code, message, hint=hint, retryable=True, retry_after=retry_after)
        self.sent = sent


class LicenceStateError(LicenceError):
    """What is kept of the licence is damaged, or cannot be kept."""


class ModelError(ShimmyError):
    """The model's files are missing, wrong or damaged."""


class DownloadError(ModelError):
    """Fetching the model's files failed; ``retry_after`` is the server's wish in seconds."""


class LibraryError(ShimmyError):
    """The native library is missing, broken or crashed."""


class BusyError(ShimmyError):
    """More is asked of the server at once than it takes; ``retry_after`` in seconds."""

    def __init__(
        self, code: str, message: str, *, hint: str = "", retry_after: float = 1.0
    ) -> None:
        super().__init__(code, message, hint=hint, retryable=True, retry_after=retry_after)


class OutputError(ShimmyError):
    """An answer was produced but cannot be delivered."""


class StoppedError(ShimmyError):
    """The caller stopped the work."""


class DeadlineError(StoppedError):
    """The time the caller allowed ran out."""


def kind_of(error: ShimmyError) -> str:
    """The error's class for those who cannot be sent one: ``licence_server_error``."""
    return next(name for one in type(error).__mro__ for name, kind in _KINDS.items() if kind is one)


def error_of_kind(
    kind: str,
    code: str,
    message: str,
    *,
    hint: str,
    retryable: bool,
    retry_after: float | None = None,
) -> ShimmyError:
    """An error as ``kind_of`` and its fields tell it; of an unknown kind it is a ShimmyError."""
    found = _KINDS.get(kind, ShimmyError)
    raised: ShimmyError = found.__new__(found)
    # Their constructors differ; what all of them keep is this.
    ShimmyError.__init__(
        raised, code, message, hint=hint, retryable=retryable, retry_after=retry_after
    )
    if isinstance(raised, LicenceServerError):
        raised.sent = True
    return raised


def _kinds() -> dict[str, type[ShimmyError]]:
    found, left = {}, [ShimmyError]
    while left:
        kind = left.pop()
        found[re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()] = kind
        left += kind.__subclasses__()
    return found


_KINDS = _kinds()
