"""How a URL is spoken of: never with its password, in messages never with more than its host."""

from __future__ import annotations

import re

_AUTHORITY = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,20}):/{1,3}([^/?#\\]*)")
_PORT = re.compile(r":[0-9]{1,5}$")
_UNSHOWN = re.compile(r"[^\w.:\[\]-]")
_LONGEST_HOST, LONGEST_URL = 100, 8_192


def host_label(url: str) -> str:
    """The host of ``url`` as it was written, for messages; ``the URL`` where none can be read."""
    found = _AUTHORITY.match(url.strip())
    host = "" if found is None else found[2].rpartition("@")[2]
    host = _UNSHOWN.sub("", _PORT.sub("", host))[:_LONGEST_HOST]
    return host or "the URL"


def plain_url(url: str) -> str:
    """``url`` without credentials, query and fragment: the name of a source among others."""
    return _without_credentials(re.split(r"[?#]", url.strip(), maxsplit=1)[0])[:LONGEST_URL]


def reported_url(url: str) -> str:
    """``url`` as it stands in a result: without credentials, and of bounded length."""
    shown = _without_credentials(url)
    if len(shown) <= LONGEST_URL:
        return shown
    # A page may give itself any length of address; without its tail it still leads there.
    return plain_url(shown)


def _without_credentials(url: str) -> str:
    found = _AUTHORITY.match(url)
    if found is None or "@" not in found[2]:
        return url
    start, end = found.span(2)
    return url[:start] + found[2].rpartition("@")[2] + url[end:]
