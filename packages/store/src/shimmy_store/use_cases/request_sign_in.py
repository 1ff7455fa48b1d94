"""Ask for a link to one's licence by naming an address."""

from __future__ import annotations

import uuid
from datetime import datetime

from shimmy_store.domain.notices import Notice
from shimmy_store.ports.ledger import Ledger


async def request_sign_in(email: str, browser: str, ledger: Ledger, now: datetime) -> None:
    """The same work for every address, known or not, so that the answer tells nothing.

    Whether anybody has this address is found out when the message is due to be sent. Raises
    LedgerError.
    """
    facts = {"email": email, "browser": browser, "asked": now.isoformat()}
    await ledger.add_message(Notice(f"sign-in/{uuid.uuid4()}", "sign-in", facts), "", now)
