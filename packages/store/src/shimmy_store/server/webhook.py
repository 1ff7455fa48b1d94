"""Where Stripe tells that something happened: kept and acknowledged at once, worked on later."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shimmy_store.domain.private_words import is_event_id
from shimmy_store.errors import VisitError
from shimmy_store.server.logs import log_with
from shimmy_store.use_cases.receive_event import Rejected, receive_event
from shimmy_store.wiring import Shop


async def stripe_webhook(request: Request) -> Response:
    """2xx once the event is on disk, or was before; Stripe tries again on anything else."""
    shop: Shop = request.app.state.shop
    body = await request.body()
    signature = request.headers.get("stripe-signature", "")
    heard = await receive_event(body, signature, shop.endpoint, shop.ledger, shop.now())
    meters = request.app.state.meters
    if isinstance(heard, Rejected):
        meters.webhooks.labels(heard.reason).inc()
        if is_event_id(heard.event):
            log_with(event_id=heard.event)
        raise VisitError("event-refused", f"The event is refused: {heard.reason}.")
    meters.webhooks.labels(heard).inc()
    if heard == "new":
        request.app.state.workroom.wake()
    return JSONResponse({"received": heard})
