"""The store's operator desk on a profile's token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shimmy_ops.adapters.store.http_store_desk import HttpStoreDesk
from shimmy_ops.domain.credentials import METRICS_TOKEN, OPERATOR_TOKEN
from shimmy_ops.domain.profile import Profile
from shimmy_ops.errors import DeskError
from shimmy_ops.ports.store_desk import StoreDesk
from shimmy_ops.wiring.accounts import http_client, open_safe


@contextmanager
def open_desk(profile: Profile, base: Path) -> Iterator[StoreDesk]:
    """The store; ``base`` is where the profile's folders are. Raises DeskError, KeepingError."""
    safe = open_safe(profile, base)
    token = safe.read(OPERATOR_TOKEN)
    if token is None:
        raise DeskError(
            "operator-token-missing",
            "There is no token for the store's operator API yet.",
            hint="shimmy-ops provision --apply --write-env FILE makes one for the store.",
        )
    with http_client(profile, profile.store_url) as client:
        yield HttpStoreDesk(client, in_use(token), in_use(safe.read(METRICS_TOKEN) or ""))


def in_use(kept: str) -> str:
    """The first: while one token replaces another both are kept, and this one works."""
    return kept.partition(",")[0]
