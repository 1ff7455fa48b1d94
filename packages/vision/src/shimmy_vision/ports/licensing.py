"""Everything the licence use cases work with, and where it all starts: which key?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from shimmy_vision.domain.licence.licensor import Licensor
from shimmy_vision.ports.licence_server import LicenceServer
from shimmy_vision.ports.licence_state import LicenceState


@dataclass(frozen=True, slots=True)
class Licensing:
    """Built by ``wiring`` alone.

    ``given_key`` comes from a flag or the environment and stands above the one kept in the state;
    ``machine_name`` and ``platform`` are what the licence's owner sees in the list of machines;
    ``now`` is this machine's clock, in UTC.
    """

    licensor: Licensor
    server: LicenceServer
    state: LicenceState
    fingerprint: str = field(repr=False)
    machine_name: str
    platform: str
    given_key: str | None = field(repr=False)
    now: Callable[[], datetime]

    def key(self) -> str | None:
        """The key in use, if there is one."""
        return self.given_key or self.state.kept_key()
