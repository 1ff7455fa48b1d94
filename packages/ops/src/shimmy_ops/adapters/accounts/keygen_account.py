"""Which account a token of Keygen's is of."""

from __future__ import annotations

from shimmy_ops.adapters.accounts.keygen_wire import KeygenWire, keygen_shapes
from shimmy_ops.domain.preflight.facts import KeygenAccount


def read_keygen_account(wire: KeygenWire) -> KeygenAccount:
    """Raises LicensingError."""
    found = wire.ask("GET", "")
    with keygen_shapes():
        return KeygenAccount(str(found["id"]), str(found["attributes"].get("slug") or ""))
