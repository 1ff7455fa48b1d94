"""What the operator allows besides the public internet."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_network,
)
from typing import TypeAlias

from shimmy_vision.domain.web.hosts import read_host
from shimmy_vision.domain.web.refusal import Refused

Network: TypeAlias = IPv4Network | IPv6Network

_NUMBER = "[0-9]{1,5}"
_BRACKETED = re.compile(rf"\[([^\]]+)\](?::({_NUMBER}))?")
_WITH_PORT = re.compile(rf"([^:]+):({_NUMBER})")


@dataclass(frozen=True, slots=True)
class AllowList:
    """Networks and host names, each with the one port it is allowed at, or None for any."""

    networks: tuple[tuple[Network, int | None], ...] = ()
    hosts: tuple[tuple[str, int | None], ...] = ()

    def covers_address(self, address: IPv4Address | IPv6Address, port: int) -> bool:
        """Whether ``address`` may be reached at ``port``, whatever it is."""
        return any(
            address in network and allowed in (None, port) for network, allowed in self.networks
        )

    def covers_host(self, host: str, port: int) -> bool:
        """Whether ``host``, as ``read_host`` writes it, may be reached wherever it is."""
        return any(name == host and allowed in (None, port) for name, allowed in self.hosts)


def read_allow_list(entries: Iterable[str]) -> AllowList:
    """From ``10.0.0.0/8``, ``10.1.2.3:8080``, ``[fd00::1]:80``, ``intranet.example:443``.

    Raises ValueError that names the entry which is none of these.
    """
    networks: list[tuple[Network, int | None]] = []
    hosts: list[tuple[str, int | None]] = []
    for entry in entries:
        place, port = _split(entry.strip())
        network = _network(place)
        if network is not None:
            networks.append((network, port))
            continue
        match read_host(place):
            case str() as host:
                hosts.append((host, port))
            case _:
                raise ValueError(f"{entry!r} is neither a network nor a host, maybe with a port")
    return AllowList(tuple(networks), tuple(hosts))


def _split(entry: str) -> tuple[str, int | None]:
    found = _BRACKETED.fullmatch(entry) or _WITH_PORT.fullmatch(entry)
    if found is None:
        return entry, None
    place, port = found.groups()
    if port is not None and not 0 < int(port) < 65536:
        raise ValueError(f"{entry!r} names a port that there is not")
    return place, None if port is None else int(port)


def _network(place: str) -> Network | None:
    host = read_host(f"[{place}]" if ":" in place else place)
    if isinstance(host, (IPv4Address, IPv6Address)):
        return ip_network(host)
    if isinstance(host, Refused) and "/" not in place:
        return None
    try:
        return ip_network(place)
    except ValueError:
        return None
