"""What is asked of a build, refused before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from shimmy_store.domain.site.addresses import (
    Address,
    is_host_name,
    is_loopback,
    is_placeholder_host,
    parse_address,
)
from shimmy_store.errors import SiteError

SiteMode: TypeAlias = Literal["test", "live"]


@dataclass(frozen=True, slots=True)
class SiteOrder:
    """``store`` is an origin; ``home`` ends in a slash, or is empty where nobody knows it yet.

    ``base`` is the path of the site's root, slashes at both ends: what the page for unknown paths,
    which is shown at any depth, finds its files under.
    """

    mode: SiteMode
    store: str
    home: str
    base: str
    cname: str


def order_site(
    mode: SiteMode, store_url: str, *, home: str = "", base: str = "", cname: str = ""
) -> SiteOrder:
    """Raises SiteError that lists all that is wrong."""
    problems: list[str] = []
    store = _store(mode, store_url, problems)
    if cname and not is_host_name(cname):
        problems.append(f"--cname {cname!r} is no host name")
    home = home or (f"https://{cname}/" if cname else "")
    place = _home(mode, home, cname, problems) if home else None
    base = base or (place.path if place else "/")
    if not base.startswith("/") or not base.endswith("/") or "//" in base:
        problems.append(f"--base {base!r} does not begin and end with one slash")
    if place and base != place.path:
        problems.append(f"--base {base!r} is not the path of {home}")
    if problems:
        raise SiteError(
            "site-order-refused",
            "The site cannot be built:\n  " + "\n  ".join(problems),
            hint="`shimmy-store site build --help` explains each option.",
        )
    return SiteOrder(mode, store, place.origin + place.path if place else "", base, cname.lower())


def _store(mode: SiteMode, text: str, problems: list[str]) -> str:
    address = parse_address(text)
    if address is None or address.path != "/" or address.query or "@" in text or "#" in text:
        problems.append(f"--store-url {text!r} is not of the form https://host")
        return ""
    _refuse_drafts("--store-url", mode, address, problems)
    if address.scheme == "http" and not is_loopback(address.host):
        problems.append(f"--store-url {text!r} must be https unless it is on loopback")
    return address.origin


def _home(mode: SiteMode, text: str, cname: str, problems: list[str]) -> Address | None:
    address = parse_address(text if text.endswith("/") else f"{text}/")
    if address is None or address.query:
        problems.append(f"--site-url {text!r} is not of the form https://host/path/")
        return None
    _refuse_drafts("--site-url", mode, address, problems)
    if cname and address.host != cname.lower():
        problems.append(f"--site-url {text!r} is not at {cname}")
    return address


def _refuse_drafts(option: str, mode: SiteMode, address: Address, problems: list[str]) -> None:
    if mode != "live":
        return
    if address.scheme != "https":
        problems.append(f"{option} must be https in live mode")
    if is_loopback(address.host):
        problems.append(f"{option} is on loopback: live customers cannot come there")
    elif is_placeholder_host(address.host):
        problems.append(f"{option} names {address.host}, which is reserved for examples and tests")
