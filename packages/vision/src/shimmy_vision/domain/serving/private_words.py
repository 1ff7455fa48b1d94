"""What may stand in a log or a trace: two ids by their form, and no word that is anybody's."""

from __future__ import annotations

import re
from collections.abc import Mapping

HIDDEN = "[hidden]"
# Nothing of ours is longer, and looking for words takes longer the longer a text is.
_LONGEST = 1000
# Keygen's keys are groups of hex digits, or signed.
_KEYS = r"\b(?:[0-9A-F]{6}-){2,}\S*|\bkey/\S+|\bBearer\s+\S+"
_PLACES = (
    r"[^\s@\"'<>]+@[^\s@\"'<>]+"
    r"|[A-Za-z][A-Za-z0-9+.-]*://\S+"
    r"|[?&][\w.-]+=\S*"
    r"|\b\d{1,3}(?:\.\d{1,3}){3}\b"
    r"|(?:[0-9A-Fa-f]{1,4}:){3,}[0-9A-Fa-f:]*"
)
_UUIDS = r"\b[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}\b"
# Long enough for a key, the id of a job, a digest or a piece of an image.
_LONG = r"(?=[\w+/=-]*[0-9A-Z])[\w+/=-]{24,}"
_PRIVATE = re.compile("|".join((_PLACES, _KEYS, _UUIDS, _LONG)))
_TELLING = re.compile(_KEYS)
# The longest is a UUID: no key is as short.
_REQUEST = re.compile(r"[A-Za-z0-9_-]{1,36}")
_IDS: Mapping[str, re.Pattern[str]] = {
    "request_id": _REQUEST,
    "trace_id": re.compile(r"[0-9a-f]{32}"),
}


def hide_private(text: str) -> str:
    """``text`` without addresses, keys, ids and whatever may be a token or a piece of an image."""
    return _PRIVATE.sub(HIDDEN, text[:_LONGEST])


def show_id(name: str, text: str) -> str:
    """An id under its own name - ``request_id``, ``trace_id`` - if it has its form; whatever

    stands under another name, or has another form, as ``hide_private`` leaves it.
    """
    form = _IDS.get(name)
    if form is None:
        return hide_private(text)
    return text if form.fullmatch(text) and not _TELLING.search(text) else HIDDEN


def is_request_id(text: str) -> bool:
    """Whether another program's id of a request is short, plain and nothing that we would hide."""
    return bool(_REQUEST.fullmatch(text)) and not _TELLING.search(text)
