"""Plans, and the way to pay for one and back."""

from __future__ import annotations

import re
from typing import Any

from starlette.responses import Response

from shimmy_store.domain.catalog import PLAN_IDS, PlanId
from shimmy_store.errors import VisitError
from shimmy_store.server.limits import CHECKOUTS, LOOK_UPS, count_visitor
from shimmy_store.server.pages import show_page
from shimmy_store.server.problems import wants_page
from shimmy_store.server.visit import Visit, go, json_answer, read_form
from shimmy_store.use_cases.confirm_checkout import Confirmation, confirm_checkout
from shimmy_store.use_cases.show_licences import show_licences
from shimmy_store.use_cases.start_checkout import start_checkout

_LONGEST_ID = 255


async def pricing(visit: Visit) -> Response:
    """The plans on sale."""
    if not wants_page(visit.request) and "json" in visit.request.headers.get("accept", ""):
        return json_answer(_catalog(visit))
    context = {"plans": visit.shop.catalog.plans, "attempt": visit.attempt}
    return show_page(visit.request, "pricing.html", context)


def _catalog(visit: Visit) -> dict[str, Any]:
    names = ("id", "name", "unit_amount", "interval", "pages_per_month", "machines")
    catalog = visit.shop.catalog
    plans = [{name: getattr(plan, name) for name in names} for plan in catalog.plans]
    return {"currency": catalog.currency, "plans": plans}


async def buy(visit: Visit) -> Response:
    """A link that leads to the page to pay on: ``/buy?plan=developer``."""
    if visit.request.method == "HEAD":
        return Response()
    return await _begin(visit, visit.request.query_params.get("plan", ""), visit.attempt)


async def create_checkout_session(visit: Visit) -> Response:
    """The same from a form or a program: ``plan``, and ``attempt`` to send it twice safely."""
    fields = await read_form(visit)
    attempt = fields.get("attempt", "") or visit.attempt
    return await _begin(visit, fields.get("plan", ""), attempt[:_LONGEST_ID])


async def _begin(visit: Visit, plan: str, attempt: str) -> Response:
    if plan not in PLAN_IDS:
        raise VisitError(
            "plan-unknown",
            "There is no such plan.",
            hint=f"Plans are {', '.join(PLAN_IDS)}.",
        )
    await count_visitor(visit, CHECKOUTS)
    buyers = await _buyers(visit)
    if len(buyers) > 1:
        # Which of the licences it is about only the visitor knows: each has its own button there.
        return go(visit, f"{visit.shop.settings.url}/view-license")
    # An attempt is of one browser: nobody is led to the page that another one pays on.
    way = await start_checkout(
        _known(plan),
        "".join(buyers),
        attempt,
        visit.shop.counter,
        browser=visit.browser_digest,
    )
    return go(visit, way.url)


def _known(plan: str) -> PlanId:
    return next(one for one in PLAN_IDS if one == plan)


async def _buyers(visit: Visit) -> list[str]:
    """The Stripe customers that somebody signed in may buy as; none for somebody new.

    Of several the ones whose licence gives access. One that was merged away is none: what it bought
    would change the licence that stayed.
    """
    if visit.session is None:
        return []
    shop = visit.shop
    shown = await show_licences(visit.session.customers, shop.ledger, shop.holdings)
    own = [one for one in shown if not one.merged]
    now = shop.now()
    live = [one for one in own if one.gives_access(now)]
    # Whose payment is still being confirmed comes before whose licence is over.
    pending = [one for one in own if one.holding is None]
    return [one.customer for one in live or (pending or own)[:1]]


async def success(visit: Visit) -> Response:
    """Where Stripe sends a buyer back to; asked again until the licence is there."""
    session = visit.request.query_params.get("session_id", "")
    # It becomes part of a path at Stripe: nothing but an id does.
    if not re.fullmatch(rf"cs_\w{{1,{_LONGEST_ID}}}", session, re.ASCII):
        raise _unknown()
    await count_visitor(visit, LOOK_UPS)
    shop = visit.shop
    found = await confirm_checkout(
        session, shop.counter.checkout, shop.fulfilment, livemode=shop.settings.livemode
    )
    visit.request.app.state.workroom.wake()
    if found.outcome == "unknown":
        raise _unknown()
    shown = None
    if found.outcome == "ready" and found.proven_until is not None:
        if found.browser == visit.browser_digest:
            # Not in the browser of somebody who was only handed the address of this page: they
            # would go on as the buyer without knowing it.
            visit.begin_session((found.customer,), found.proven_until)
        (shown,) = await show_licences((found.customer,), shop.ledger, shop.holdings)
    if not wants_page(visit.request):
        return json_answer(_state(found, shown))
    return show_page(visit.request, "success.html", {"found": found, "shown": shown})


def _state(found: Confirmation, shown: Any) -> dict[str, Any]:
    if shown is None or shown.holding is None:
        return {"state": found.outcome}
    licence = shown.holding.licence
    return {"state": found.outcome, "plan": licence.plan, "key": licence.key}


def _unknown() -> VisitError:
    return VisitError(
        "purchase-unknown",
        "There is no such purchase.",
        hint="If you have paid, the licence is in your mail; or open the licence page.",
    )


async def cancel(visit: Visit) -> Response:
    """Where Stripe sends a buyer back to who did not pay."""
    return show_page(visit.request, "cancel.html")
