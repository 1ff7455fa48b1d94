"""Which addresses a public site may name, and which only a draft of it has."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

# Pages that explain what ours rest on. Whatever else is linked, a person has to allow by name.
DOCUMENTATION_HOSTS = frozenset(
    {
        "docs.github.com",
        "github.com",
        "json-schema.org",
        "keygen.sh",
        "modelcontextprotocol.io",
        "stripe.com",
        "www.w3.org",
    }
)
# Where `shimmy serve` listens on the customer's machine: documentation has to name it.
OWN_SERVER = "127.0.0.1:8750"
# What the store answers at; an absolute address with one of these paths leads to a store.
STORE_PATHS = frozenset(
    {"/", "/pricing", "/buy", "/view-license", "/success", "/cancel", "/sign-in", "/merge"}
)
_RESERVED = ("test", "example", "invalid", "localhost", "local", "internal")
_EXAMPLE_DOMAINS = ("example.com", "example.net", "example.org")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """An absolute http(s) address. ``origin`` is as browsers write it, without a slash."""

    scheme: str
    host: str
    origin: str
    path: str
    query: str


def parse_address(text: str) -> Address | None:
    """None for what is relative, of another scheme, or no address at all."""
    try:
        place = urlsplit(text.strip())
        port = place.port
    except ValueError:
        return None
    scheme, host = place.scheme.lower(), (place.hostname or "").lower()
    if scheme not in ("http", "https") or not host:
        return None
    shown = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443}[scheme]
    origin = f"{scheme}://{shown}" + (f":{port}" if port not in (None, usual) else "")
    return Address(scheme, host, origin, place.path or "/", place.query)


def is_host_name(text: str) -> bool:
    """A name of the public web: labels and dots, at least two of them."""
    return "." in text and len(text) <= 253 and _HOST.fullmatch(text) is not None


def is_loopback(host: str) -> bool:
    """This machine, under any of its names."""
    name = host.lower().strip("[]").rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def is_placeholder_host(host: str) -> bool:
    """A name that is reserved for examples and tests, or a bare number: nobody's store."""
    name = host.lower().strip("[]").rstrip(".")
    if name.rpartition(".")[2] in _RESERVED:
        return True
    if any(name == one or name.endswith(f".{one}") for one in _EXAMPLE_DOMAINS):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
