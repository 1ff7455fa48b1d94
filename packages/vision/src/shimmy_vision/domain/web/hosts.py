"""The host of a URL as a browser reads it, in one form for each: the WHATWG's host parser.

To a browser and to the system's resolver ``0177.1``, ``0x7f000001``, ``2130706433``,
``%31%32%37.0.0.1`` and the same in full-width digits are all 127.0.0.1, so they must be that to us
before anything is judged.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

import idna

from shimmy_vision.domain.web.refusal import Refused

_LONGEST_HOST, _LONGEST_LABEL = 253, 63
_LONGEST_WRITTEN = 1_000  # percent-encoded, before it is read
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
_NUMBER_AT_END = re.compile(r"[0-9]+|0x[0-9a-f]*")


Host: TypeAlias = str | IPv4Address | IPv6Address


def read_host(text: str) -> Host | Refused:
    """A name in lower-case ASCII without a trailing dot, or an address; IPv6 in brackets."""
    if len(text) > _LONGEST_WRITTEN:
        return Refused("the host name is too long")
    if text.startswith("["):
        return _read_ipv6(text)
    try:
        decoded = unquote_to_bytes(text).decode()
        name = _to_ascii(decoded)
    except (UnicodeError, idna.IDNAError):
        return Refused("the host name is not valid")
    name = name.removesuffix(".")
    labels = name.split(".")
    if _NUMBER_AT_END.fullmatch(labels[-1]):
        return _read_ipv4(labels)
    if len(name) > _LONGEST_HOST or any(len(label) > _LONGEST_LABEL for label in labels):
        return Refused("the host name is too long")
    if not all(_LABEL.fullmatch(label) for label in labels):
        return Refused("the host name is empty" if not name else "the host name is not valid")
    return name


def _to_ascii(name: str) -> str:
    """Full-width digits and ideographic full stops become ASCII here, like everything IDNA maps."""
    if name.isascii():
        return name.lower()
    mapped = idna.uts46_remap(name, std3_rules=False, transitional=False)
    return mapped if mapped.isascii() else idna.encode(mapped).decode()


def _read_ipv6(text: str) -> IPv6Address | Refused:
    if not text.endswith("]") or "%" in text:
        return Refused("the IPv6 address is not valid")
    try:
        return IPv6Address(text[1:-1])
    except AddressValueError:
        return Refused("the IPv6 address is not valid")


def _read_ipv4(labels: list[str]) -> IPv4Address | Refused:
    """One to four numbers, decimal, octal or hexadecimal; the last one fills what is left."""
    numbers = [_number(label) for label in labels]
    if len(numbers) > 4 or any(number is None for number in numbers):
        return Refused("the IPv4 address is not valid")
    *leading, last = [number for number in numbers if number is not None]
    if any(number > 255 for number in leading) or last >= 256 ** (4 - len(leading)):
        return Refused("the IPv4 address is not valid")
    return IPv4Address(last + sum(n << 8 * (3 - place) for place, n in enumerate(leading)))


def _number(label: str) -> int | None:
    if len(label) > 32 or not label:
        return None
    base = 10
    if label.startswith("0x"):
        base, label = 16, label[2:] or "0"
    elif label.startswith("0"):
        base = 8
    digits = "0123456789abcdef"[:base]
    return int(label, base) if all(digit in digits for digit in label) else None
