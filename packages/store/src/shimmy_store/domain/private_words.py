"""What may stand in a log or a trace: three ids by their form, and no word that is anybody's."""

from __future__ import annotations

import re
from collections.abc import Mapping

HIDDEN = "[hidden]"
# Nothing of ours is longer, and looking for words takes longer the longer a text is.
_LONGEST = 1000
# Of Stripe's objects and secrets. An event's id alone is no secret and leads to nobody by itself.
_STRIPES = (
    "acct|ba|bpc|bps|card|ch|cn|cs|cus|du|dp|evt|fr|ii|il|in|ip|mandate|pi|pk|pm|po|price|prod|py|"
    "re|rk|seti|si|sk|src|sub|tok|tr|txn|we|whsec|wh"
)
_NAMED = rf"\b(?:{_STRIPES})_\w{{6,}}"
# Keygen's: groups of hex digits; and signed ones.
_KEYS = r"\b(?:[0-9A-F]{6}-){2,}\S*|\bkey/\S+|\bBearer\s+\S+"
_PLACES = (
    r"[^\s@\"'<>]+@[^\s@\"'<>]+"
    r"|[A-Za-z][A-Za-z0-9+.-]*://\S+"
    r"|[?&][\w.-]+=\S*"
    r"|\b\d{1,3}(?:\.\d{1,3}){3}\b"
    r"|(?:[0-9A-Fa-f]{1,4}:){3,}[0-9A-Fa-f:]*"
)
_UUIDS = r"\b[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}\b"
# Long enough for a token, a digest or a piece of an image.
_LONG = r"(?=[\w+/=-]*[0-9A-Z])[\w+/=-]{32,}"
_PRIVATE = re.compile("|".join((_PLACES, _KEYS, _NAMED, _UUIDS, _LONG)))
_TELLING = re.compile(f"{_KEYS}|{_NAMED}")
# The longest is a UUID: no key and no token of ours is as short.
_REQUEST = re.compile(r"[A-Za-z0-9_-]{1,36}")
_IDS: Mapping[str, re.Pattern[str]] = {
    "request_id": _REQUEST,
    "event_id": re.compile(r"evt_\w{6,64}", re.ASCII),
    "trace_id": re.compile(r"[0-9a-f]{32}"),
}


def hide_private(text: str) -> str:
    """``text`` without addresses, keys, ids of customers and whatever may be a token."""
    return _PRIVATE.sub(HIDDEN, text[:_LONGEST])


def show_id(name: str, text: str) -> str:
    """An id under its own name - ``request_id``, ``event_id``, ``trace_id`` - if it has its form;

    whatever stands under another name, or has another form, as ``hide_private`` leaves it.
    """
    form = _IDS.get(name)
    if form is None:
        return hide_private(text)
    return text if form.fullmatch(text) and not _is_telling(name, text) else HIDDEN


def is_request_id(text: str) -> bool:
    """Whether another program's id of a request is short, plain and nothing that we would hide."""
    return bool(_REQUEST.fullmatch(text)) and not _TELLING.search(text)


def is_event_id(text: str) -> bool:
    """Whether it is an event's id at Stripe; those of our own events name customers."""
    return bool(_IDS["event_id"].fullmatch(text))


def _is_telling(name: str, text: str) -> bool:
    return name == "request_id" and bool(_TELLING.search(text))
