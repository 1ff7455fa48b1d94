"""Which IP addresses a URL of a stranger may lead to: those of the public internet alone."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TypeAlias

from shimmy_vision.domain.web.allow_list import AllowList
from shimmy_vision.domain.web.refusal import Refused

Address: TypeAlias = IPv4Address | IPv6Address

# The first network that holds an address names it, so narrower ones come first. Written out, as
# ``ipaddress`` changes its mind between releases of Python and calls some multicast global.
_SPECIAL_4 = (
    ("0.0.0.0/32", "unspecified"),
    ("0.0.0.0/8", "this network"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "carrier-grade NAT"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "reserved for protocols"),
    ("192.0.2.0/24", "documentation"),
    ("192.88.99.0/24", "6to4 relays"),
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("255.255.255.255/32", "broadcast"),
    ("240.0.0.0/4", "reserved"),
)
# What carries an IPv4 address inside is refused whole: nothing public is reached that way only.
_SPECIAL_6 = (
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("::ffff:0:0/96", "IPv4-mapped"),
    ("::ffff:0:0:0/96", "IPv4-translated"),
    ("::/96", "IPv4-compatible"),
    ("64:ff9b::/96", "NAT64"),
    ("64:ff9b:1::/48", "NAT64"),
    ("100::/64", "discard-only"),
    ("2001::/32", "Teredo"),
    ("2001:2::/48", "benchmarking"),
    ("2001::/23", "reserved for protocols"),
    ("2001:db8::/32", "documentation"),
    ("2002::/16", "6to4"),
    ("3fff::/20", "documentation"),
    ("fc00::/7", "unique-local"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
)
_NETWORKS_4 = tuple((IPv4Network(network), kind) for network, kind in _SPECIAL_4)
_NETWORKS_6 = tuple((IPv6Network(network), kind) for network, kind in _SPECIAL_6)
_GLOBAL_UNICAST = ip_network("2000::/3")
_ISATAP = (0x00005EFE, 0x02005EFE)  # before the IPv4 address in the last 32 bits


def special_kind(address: Address) -> str | None:
    """What sets ``address`` apart from public ones, in a word or two; None for a public one."""
    if isinstance(address, IPv4Address):
        kind = next((kind for network, kind in _NETWORKS_4 if address in network), None)
    else:
        kind = _special_kind_6(address)
    if kind is None and not address.is_global:
        return "not public"
    return kind


def _special_kind_6(address: IPv6Address) -> str | None:
    if address.scope_id is not None:
        return "bound to one link"
    kind = next((kind for network, kind in _NETWORKS_6 if address in network), None)
    if kind is None and address not in _GLOBAL_UNICAST:
        return "reserved"
    if kind is None and int(address) >> 32 & 0xFFFFFFFF in _ISATAP:
        return "ISATAP"
    return kind


def refuse_address(address: Address, port: int, allow: AllowList) -> Refused | None:
    """None where ``address`` may be reached at ``port``."""
    kind = special_kind(address)
    if kind is None or allow.covers_address(address, port):
        return None
    return Refused(f"{address} is not a public address ({kind})")


def check_addresses(
    host: str, port: int, found: Sequence[str], allow: AllowList
) -> tuple[Address, ...] | Refused:
    """What the name ``host`` was resolved to, all of it good, in the resolver's order.

    One bad address refuses the name: an honest name does not mix public and private ones.
    """
    if not found:
        return Refused(f"{host} has no address")
    try:
        addresses = tuple(dict.fromkeys(ip_address(text) for text in found))
    except ValueError:
        return Refused(f"{host} resolves to something that is no address")
    if allow.covers_host(host, port):
        return addresses
    for address in addresses:
        refused = refuse_address(address, port, allow)
        if refused is not None:
            return refused if str(address) == host else Refused(f"{host}: {refused.reason}")
    return addresses
