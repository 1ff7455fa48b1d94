"""Receipts of erasing: that it was done, when and to which ids; never to whom."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ErasureReceipt:
    """``finished`` empty: it was begun and must be gone on with.

    ``salt`` and ``address`` (a digest) tell until then who was asked for by address; afterwards
    they are empty. ``stays`` counts what tax law keeps at Stripe.
    """

    customer: str
    members: tuple[str, ...]
    profile: str
    begun: str
    finished: str = ""
    steps: tuple[str, ...] = ()
    stays: Mapping[str, int] | None = None
    salt: str = ""
    address: str = ""

    @property
    def took_ledger(self) -> bool:
        """Whether the store was told to forget them."""
        return any(one.startswith("erase-ledger ") for one in self.steps)


def address_digest(salt: str, email: str) -> str:
    """What an address is known again by while an erasure is open."""
    return hashlib.sha256(f"{salt} {email.strip().casefold()}".encode()).hexdigest()


def find_open(receipts: Iterable[ErasureReceipt], email: str) -> str | None:
    """The customer whose erasure was begun for this address and is not finished."""
    for one in receipts:
        if not one.finished and one.salt and one.address == address_digest(one.salt, email):
            return one.customer
    return None


def begun_since(receipts: Iterable[ErasureReceipt], made: str) -> tuple[ErasureReceipt, ...]:
    """Those whose ledger was erased, and a backup of that time may not know of it.

    One that was begun and never came to the ledger ends nobody's licence: perhaps it was a mistake.
    """
    return tuple(
        one for one in receipts if (one.finished >= made if one.finished else one.took_ledger)
    )


def receipt_document(receipt: ErasureReceipt) -> dict[str, Any]:
    """As it is kept."""
    return asdict(receipt)


def parse_receipt(read: Mapping[str, Any]) -> ErasureReceipt:
    """Raises LookupError, TypeError for another shape."""
    return ErasureReceipt(
        **{**read, "members": tuple(read["members"]), "steps": tuple(read["steps"])}
    )
