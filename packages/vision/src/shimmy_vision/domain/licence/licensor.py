"""Whose licences this build accepts: an account, its public key, its product."""

from __future__ import annotations

import ipaddress
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias, cast
from urllib.parse import urlsplit

Mode: TypeAlias = Literal["live", "sandbox"]

ENTITLEMENT = "vision"


@dataclass(frozen=True, slots=True)
class Licensor:
    """``account`` and ``product`` are Keygen ids, ``public_key`` 32 bytes in hex.

    ``api_url`` is the licence server without a path, ``pricing_url`` and ``portal_url``
    are pages for people.
    """

    mode: Mode
    account: str
    product: str
    public_key: str
    api_url: str
    pricing_url: str
    portal_url: str

    @property
    def sandbox(self) -> bool:
        """Whether licences of this build come from a simulator and prove nothing."""
        return self.mode == "sandbox"


def read_licensor(data: Mapping[str, Any]) -> Licensor:
    """Raises ValueError that names what is missing or wrong.

    A live licensor speaks HTTPS to a public host; a sandbox one HTTP to loopback. So neither
    kind of build can be talked into the other.
    """
    names = [field.name for field in fields(Licensor)]
    if set(data) != set(names):
        raise ValueError(f"a licensor has exactly these fields: {', '.join(names)}")
    wrong = [name for name in names if not isinstance(data[name], str)]
    if wrong:
        raise ValueError(f"{wrong[0]} must be text")
    if data["mode"] not in ("live", "sandbox"):
        raise ValueError("mode must be live or sandbox")
    for name in ("account", "product"):
        _check_uuid(name, data[name])
    if not re.fullmatch(r"[0-9a-f]{64}", data["public_key"]):
        raise ValueError("public_key must be 64 hex digits")
    for name in ("api_url", "pricing_url", "portal_url"):
        _check_url(name, data[name], data["mode"])
    _check_bare("api_url", data["api_url"])
    return Licensor(**{name: cast("Any", data[name]) for name in names})


def choose_api_url(licensor: Licensor, wish: str | None) -> str:
    """The licence server to ask; only a sandbox build may be pointed elsewhere, and on loopback.

    Raises ValueError.
    """
    if not wish or wish.rstrip("/") == licensor.api_url:
        return licensor.api_url
    if not licensor.sandbox:
        raise ValueError("the licence server of this build is fixed")
    _check_url("the licence server", wish.rstrip("/"), licensor.mode)
    _check_bare("the licence server", wish.rstrip("/"))
    return wish.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_uuid(name: str, text: str) -> None:
    try:
        canonical = str(uuid.UUID(text)) == text
    except ValueError:
        canonical = False
    if not canonical:
        raise ValueError(f"{name} must be a UUID in lower case")


def _check_url(name: str, text: str, mode: str) -> None:
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{name} is no URL: {error}") from error
    on_loopback = is_loopback(host or "")
    if mode == "live" and (parts.scheme != "https" or not host or on_loopback):
        raise ValueError(f"{name} of a live build must be https and not on this machine")
    if mode == "sandbox" and (parts.scheme != "http" or not on_loopback):
        raise ValueError(f"{name} of a sandbox build must be http on 127.0.0.1")


def _check_bare(name: str, text: str) -> None:
    """Scheme, host and port alone: the paths of requests are put right behind it."""
    parts = urlsplit(text)
    if text != f"{parts.scheme}://{parts.netloc}" or "@" in parts.netloc:
        raise ValueError(f"{name} must have no path, query or user")
