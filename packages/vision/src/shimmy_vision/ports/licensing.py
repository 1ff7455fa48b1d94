"""Everything the licence use cases work with, and where it all starts: which key?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from shimmy_vision.domain.licence.licensor import Licensor
from shimmy_vision.ports.licence_server import LicenceServer
from shimmy_vision.ports.licence_state import LicenceState
from shimmy_vision.ports.page_claims import NoClaims, PageClaims

# Another process that asks the server or reports pages is waited for so many seconds.
OTHERS_WAIT = 15.0


@dataclass(frozen=True, slots=True)
class Licensing:
    """Built by ``wiring`` alone.

    ``given_key`` comes from a flag or the environment and stands above the one kept in the state;
    ``machine_name`` and ``platform`` are what the licence's owner sees in the list of machines;
    ``own_id`` is False where the machine's id is one that is kept in the state, ``contained`` is
    True in containers; ``now`` is this machine's clock, in UTC; ``claims`` are those of the fleet
    that this machine belongs to.
    """

    licensor: Licensor
    server: LicenceServer
    state: LicenceState
    fingerprint: str = field(repr=False)
    machine_name: str
    platform: str
    given_key: str | None = field(repr=False)
    now: Callable[[], datetime]
    own_id: bool = True
    contained: bool = False
    claims: PageClaims = field(default_factory=NoClaims)

    @property
    def lasting(self) -> bool:
        """Whether the next process here is the same machine to the server."""
        return self.own_id or self.state.durable

    @property
    def short_lived(self) -> bool:
        """Whether nothing that is kept here need be here tomorrow."""
        return self.contained or not self.state.durable

    def key(self) -> str | None:
        """The key in use, if there is one."""
        return self.given_key or self.state.kept_key()
