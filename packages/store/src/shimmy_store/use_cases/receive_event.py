"""Keep a webhook and answer at once; what it means is found out afterwards."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from shimmy_store.domain.fulfilment import Alarm
from shimmy_store.domain.webhook_event import read_event
from shimmy_store.domain.webhook_signature import Verdict, check_signature
from shimmy_store.ports.ledger import HeardEvent, Ledger

# Bodies are kept for whoever looks into a trouble, and nothing acts on them. One that D1 would
# refuse (2 MB a row) must not cost the event; Stripe's are a few thousand bytes.
MOST_KEPT_BYTES = 1_000_000

Received: TypeAlias = Literal["new", "heard-before", "unknown-type"]


@dataclass(frozen=True, slots=True)
class Rejected:
    """Not kept: ``reason`` goes into the answer and the metrics, never the body.

    ``event`` is its id where our secret signed it: whatever else is sent is a stranger's word.
    """

    reason: Verdict | Literal["no-event", "wrong-mode"]
    event: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Ours at Stripe: its secrets, two while they are rotated, its mode, what it subscribes to."""

    secrets: Sequence[str]
    livemode: bool
    handled: Set[str]


async def receive_event(
    body: bytes, signature: str, endpoint: Endpoint, ledger: Ledger, now: datetime
) -> Received | Rejected:
    """Verify the bytes as they came and insert the event once, by its id.

    An event of the other mode is refused and raises an alarm: test payments give no live licences,
    and the other way round. Raises LedgerError, on which Stripe has to be told to try again.
    """
    verdict = check_signature(body, signature, endpoint.secrets, now)
    if verdict != "genuine":
        return Rejected(verdict)
    event = read_event(body)
    if event is None:
        return Rejected("no-event")
    if event.livemode != endpoint.livemode:
        # Signed with our secret, so not a stranger's: an endpoint is set up in the wrong mode. One
        # alarm a type, not one a delivery.
        await ledger.raise_alarms([Alarm("wrong-mode", event.type)], now)
        return Rejected("wrong-mode", event.id)
    text = body.decode("utf-8") if len(body) <= MOST_KEPT_BYTES else ""
    heard = HeardEvent(
        event.id, event.type, event.customer, event.created, now, text, event.payment
    )
    handled = event.type in endpoint.handled
    new = await ledger.add_event(heard, "pending" if handled else "unknown")
    if not new:
        return "heard-before"
    return "new" if handled else "unknown-type"
