"""A licence key as people hand it over: copied from a mail, piped, or set in a file."""

from __future__ import annotations

from shimmy_vision.errors import UsageError

_LONGEST = 4096  # Signed keys carry data and run to hundreds of characters.
_HINT = "Copy it from the mail, whole and without quotes."


def clean_key(text: str) -> str:
    """The key without what surrounds it. Raises UsageError key-empty or key-malformed."""
    key = text.strip()
    if not key:
        raise UsageError("key-empty", "The licence key is empty.", hint=_HINT)
    if len(key) > _LONGEST or not all("!" <= one <= "~" for one in key):
        raise UsageError(
            "key-malformed", "The licence key holds characters that no key has.", hint=_HINT
        )
    return key
