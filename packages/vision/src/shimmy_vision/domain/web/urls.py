"""Which URLs may be visited at all. Whether their names lead anywhere good is seen when resolved.

Stricter than browsers where parsers disagree: a URL that two programs could read differently is
refused, and what is allowed is written anew, so that whoever reads it next finds the same host.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import quote, urljoin

from shimmy_vision.domain.web.addresses import refuse_address
from shimmy_vision.domain.web.allow_list import AllowList
from shimmy_vision.domain.web.hosts import read_host
from shimmy_vision.domain.web.refusal import Refused

_LONGEST_URL = 8_192
_URL = re.compile(r"(https?)://([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]*))?")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_USUAL_PORTS = {"http": 80, "https": 443}
# What browsers refuse, since the services behind could be made to obey an HTTP request: the
# WHATWG's "bad ports".
_BAD_PORTS = frozenset(
    (
        *(0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95),
        *(101, 102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161),
        *(179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563),
        *(587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060),
        *(5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080),
    )
)


@dataclass(frozen=True, slots=True)
class Allowed:
    """``url`` written anew; ``host`` without brackets, as it is to be resolved."""

    url: str
    host: str
    port: int


Verdict: TypeAlias = Allowed | Refused


def check_url(text: str, allow: AllowList) -> Verdict:
    """Scheme, credentials, host and port of an absolute URL; an address in it is judged too."""
    if len(text) > _LONGEST_URL:
        return Refused(f"the URL is longer than {_LONGEST_URL:,} characters")
    if _UNPRINTABLE.search(text):
        return Refused("the URL contains a control character")
    found = _URL.fullmatch(text)
    if found is None:
        return _refuse_form(text)
    scheme, authority, path, query, fragment = (part or "" for part in found.groups())
    scheme = scheme.lower()
    if "\\" in authority + path:
        return Refused("the URL contains a backslash")
    verdict = check_authority(authority, allow, usual_port=_USUAL_PORTS[scheme])
    if isinstance(verdict, Refused):
        return verdict
    try:
        rest = "".join(quote(part, safe=_PRINTABLE) for part in (path or "/", query, fragment))
    except UnicodeError:
        return Refused("the URL is not valid Unicode")
    host = f"[{verdict.host}]" if ":" in verdict.host else verdict.host
    port = "" if verdict.port == _USUAL_PORTS[scheme] else f":{verdict.port}"
    url = f"{scheme}://{host}{port}{rest}"
    if len(url) > _LONGEST_URL:
        return Refused(f"the URL is longer than {_LONGEST_URL:,} characters")
    return Allowed(url, verdict.host, verdict.port)


def check_redirect(base: str, location: str, allow: AllowList) -> Verdict:
    """Where ``location`` leads from the allowed URL ``base``."""
    if "\\" in location or _UNPRINTABLE.search(location):
        return Refused("the redirect contains a backslash or a control character")
    try:
        target = urljoin(base, location.strip())
    except ValueError:
        return Refused("the redirect is not a valid URL")
    return check_url(target, allow)


def check_authority(text: str, allow: AllowList, *, usual_port: int | None = None) -> Verdict:
    """``host:port``, as in a URL or a CONNECT request; ``url`` of what is allowed is empty."""
    if "@" in text:
        return Refused("the URL contains a user name or password")
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        return Refused("the host or port is not valid")
    written, digits = found.groups()
    port = _port(digits) if digits else usual_port
    if port is None:
        return Refused("the port is not valid")
    if port in _BAD_PORTS:
        return Refused(f"port {port} belongs to another service than the web")
    host = read_host(written)
    if isinstance(host, Refused):
        return Refused(host.reason)
    if not isinstance(host, str):
        refused = refuse_address(host, port, allow)
        if refused is not None:
            return refused
    return Allowed("", str(host), port)


def _port(digits: str) -> int | None:
    number = digits.lstrip("0")
    return int(number) if 0 < len(number) <= 5 and int(number) < 65536 else None


def _refuse_form(text: str) -> Refused:
    if text[:5].lower() in ("http:", "https"):
        return Refused("the URL is not of the form http://host/path")
    scheme = _SCHEME.match(text)
    if scheme is None:
        return Refused("the URL has no scheme; only http: and https: are visited")
    return Refused(f"only http: and https: are visited, not {scheme.group()[:20]}")
