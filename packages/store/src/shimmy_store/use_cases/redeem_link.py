"""Use a mailed link to sign in: once, in time, in the browser that asked for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from shimmy_store.domain.mailboxes import mailbox_of
from shimmy_store.ports.ledger import Ledger, Link
from shimmy_store.ports.mail import LinkSigner

Unusable: TypeAlias = Literal["unknown", "used", "late", "other-browser"]


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Whose licences may be seen now."""

    customers: tuple[str, ...]


async def redeem_link(
    token: str, browser: str, ledger: Ledger, signer: LinkSigner, now: datetime
) -> SignedIn | Unusable:
    """``browser`` is the digest of what this browser holds. Raises LedgerError.

    Whoever has another address by now is not signed in: what was mailed proves the old mailbox. If
    that is everybody the link is as good as too old.
    """
    identifier = signer.read(token)
    link = await ledger.link(identifier) if identifier else None
    if link is None or link.kind != "sign-in":
        return "unknown"
    if await ledger.use_link(link.id, browser, now):
        customers = await _still_there(link, ledger)
        return SignedIn(customers) if customers else "late"
    if link.browser != browser:
        # First of all reasons: a stranger with the link learns nothing of its state.
        return "other-browser"
    return "used" if link.used is not None or now < link.expires else "late"


async def _still_there(link: Link, ledger: Ledger) -> tuple[str, ...]:
    records = [await ledger.customer(one) for one in link.customers]
    return tuple(
        one.customer
        for one in records
        if one is not None and link.mailbox and mailbox_of(one.email) == link.mailbox
    )
