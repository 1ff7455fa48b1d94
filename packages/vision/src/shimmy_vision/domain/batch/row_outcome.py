"""One row of a batch: which image, and what came of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from shimmy_vision.errors import ImageError, ShimmyError, UsageError

RowDigest: TypeAlias = bytes
"""16 bytes that stand for a row's name where many names are held at once."""

# Whatever their class, the image is the cause of these, and the next one may well be analysed.
_OF_ONE_ROW = frozenset(
    (
        *("deadline-exceeded", "page-out-of-range", "context-full"),
        *("engine-crashed", "engine-failed", "image-slicing-failed"),
        *("answer-not-closed", "grammar-broken"),
        *("remote-answer-invalid", "remote-request-refused"),
    )
)


@dataclass(frozen=True, slots=True)
class RowFailure:
    """Why a row has no result, as the error that it was says it."""

    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """``name`` tells the row from all others of its batch; either ``result`` or ``error`` is None.

    ``sha256`` is of the image file, empty where it could not be read. The result is what an image
    has, or ``{"pages": [...]}`` of a PDF.
    """

    name: str
    sha256: str
    result: Mapping[str, Any] | None
    error: RowFailure | None


def row_digest(name: str) -> RowDigest:
    """What the row is known by among those that are done."""
    return hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=16).digest()


def sayable(text: str) -> str:
    """``text`` without what no UTF-8 says, like the bytes of a file's name that are no text: such

    code points are written as escapes.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def count_names(names: Iterable[str]) -> int:
    """How many rows there are. Raises UsageError batch-name-twice."""
    seen = set[RowDigest]()
    for name in names:
        digest = row_digest(name)
        if digest in seen:
            raise UsageError(
                "batch-name-twice",
                # A table's, which may hold anything.
                f"Two rows of the batch are called {name[:100]!r}.",
                hint="Name each row once: by another --name-column, or by none.",
            )
        seen.add(digest)
    return len(seen)


def failed_codes(outcome: RowOutcome) -> list[str]:
    """What failed in the row: all of it, or pages of a PDF, each with its error's code."""
    if outcome.error is not None:
        return [outcome.error.code]
    pages = (outcome.result or {}).get("pages")
    if not isinstance(pages, list):
        return []
    told = [one["error"] for one in pages if isinstance(one, dict) and "error" in one]
    return [str(one.get("code")) for one in told if isinstance(one, dict)]


def row_error(error: ShimmyError) -> RowFailure:
    """``error`` as it stands in a row."""
    return RowFailure(error.code, error.message, error.hint)


def is_of_one_row(error: ShimmyError) -> bool:
    """Whether the batch goes on after ``error``, which then is that row's outcome."""
    return isinstance(error, ImageError) or error.code in _OF_ONE_ROW


def outcome_json(outcome: RowOutcome) -> dict[str, Any]:
    """The outcome as a line of JSON Lines."""
    told: dict[str, Any] = {"image": outcome.name, "sha256": outcome.sha256}
    if outcome.error is None:
        return {**told, "result": outcome.result}
    fields = {
        "code": outcome.error.code,
        "message": outcome.error.message,
        "hint": outcome.error.hint,
    }
    return {**told, "error": fields}


def read_outcome(value: object) -> RowOutcome | None:
    """The outcome that ``outcome_json`` told; None where ``value`` is something else."""
    if not isinstance(value, dict):
        return None
    name, sha256 = value.get("image"), value.get("sha256")
    if not isinstance(name, str) or not isinstance(sha256, str):
        return None
    result, error = value.get("result"), value.get("error")
    if isinstance(result, dict) and error is None:
        return RowOutcome(name, sha256, result, None)
    if not isinstance(error, dict) or result is not None:
        return None
    fields = [error.get(field) for field in ("code", "message", "hint")]
    if not all(isinstance(field, str) for field in fields):
        return None
    return RowOutcome(name, sha256, None, RowFailure(*map(str, fields)))
