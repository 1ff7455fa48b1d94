"""What belongs to somebody with a licence: the key, its machines, the portal, the merge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from starlette.responses import Response

from shimmy_store.domain.mailboxes import looks_like_address
from shimmy_store.errors import StoreError, VisitError
from shimmy_store.server.limits import (
    KEYS,
    LINKS,
    MAILS,
    MAILS_TO_ONE,
    count_mailbox,
    count_visitor,
)
from shimmy_store.server.pages import show_page
from shimmy_store.server.problems import wants_page
from shimmy_store.server.visit import Visit, go, json_answer, read_form
from shimmy_store.use_cases.fulfil_customer import fulfil_customer
from shimmy_store.use_cases.merge_customers import Merged, Unmerged, merge_customers
from shimmy_store.use_cases.redeem_link import SignedIn, Unusable, redeem_link
from shimmy_store.use_cases.request_sign_in import request_sign_in
from shimmy_store.use_cases.show_licences import Shown, show_licences

_LONGEST_KEY = 255


async def view_license(visit: Visit) -> Response:
    """The licences that this browser may see, or the two ways to prove whose it is."""
    if visit.session is None:
        if not wants_page(visit.request):
            visit.require_session()
        return show_page(visit.request, "find_licence.html")
    shown = await _shown(visit)
    if not wants_page(visit.request):
        return json_answer({"licences": [_described(one) for one in shown]})
    names = {plan.id: plan.name for plan in visit.shop.catalog.plans}
    context = {"shown": shown, "now": visit.shop.now(), "names": names}
    return show_page(visit.request, "licence.html", context)


async def _shown(visit: Visit) -> Sequence[Shown]:
    session = visit.require_session()
    return await show_licences(session.customers, visit.shop.ledger, visit.shop.holdings)


def _described(shown: Shown) -> dict[str, Any]:
    holding = shown.holding
    if holding is None:
        return {"customer": shown.customer, "state": "preparing"}
    licence = holding.licence
    return {
        "customer": shown.customer,
        "state": "suspended" if licence.suspended else "active",
        "key": licence.key,
        "plan": licence.plan,
        "expiry": None if licence.expiry is None else licence.expiry.isoformat(),
        "pages_used": holding.pages_used,
        "pages_allowed": holding.pages_allowed,
        "machines_allowed": holding.machines_allowed,
        "machines": [
            {"id": one.id, "name": one.name, "activated": one.activated.isoformat()}
            for one in holding.machines
        ],
    }


async def prove_licence(visit: Visit) -> Response:
    """``key`` opens its licence; ``email`` asks for a link, and the answer tells nothing."""
    fields = await read_form(visit)
    if fields.get("key", "").strip():
        return await _prove_by_key(visit, fields["key"].strip())
    if fields.get("email", "").strip():
        return await _ask_for_link(visit, fields["email"].strip())
    raise VisitError(
        "fields-missing",
        "Give the licence key, or the address you bought with.",
        hint="Either is enough: open the licence page and fill in one of them.",
    )


async def _prove_by_key(visit: Visit, key: str) -> Response:
    await count_visitor(visit, KEYS)
    written = len(key) <= _LONGEST_KEY and key.isascii() and key.isprintable()
    found = await visit.shop.holdings.find_key(key) if written else None
    customer = None if found is None else found.metadata.get("customer")
    if not isinstance(customer, str) or not customer:
        raise VisitError(
            "key-unknown",
            "There is no licence with this key.",
            hint="Copy it whole from the mail. Or ask for a link by giving your address.",
        )
    visit.begin_session((customer,))
    if wants_page(visit.request):
        return go(visit, f"{visit.shop.settings.url}/view-license")
    return await view_license(visit)


async def _ask_for_link(visit: Visit, email: str) -> Response:
    await count_visitor(visit, MAILS)
    if not looks_like_address(email):
        raise VisitError(
            "address-malformed",
            "That does not look like a mail address.",
            hint="It is a name, an at sign and a domain. Go back and try once more.",
        )
    await count_mailbox(visit, MAILS_TO_ONE, email)
    shop = visit.shop
    await request_sign_in(email, visit.browser_digest, shop.ledger, shop.now())
    visit.request.app.state.workroom.wake()
    if not wants_page(visit.request):
        return json_answer({"state": "mailed-if-known"}, 202)
    return show_page(visit.request, "link_sent.html", {"email": email}, status=202)


async def sign_in(visit: Visit) -> Response:
    """The mailed link: once, in time, in the browser that asked."""
    await count_visitor(visit, LINKS)
    shop, token = visit.shop, visit.request.query_params.get("token", "")
    if visit.request.method == "HEAD":
        return Response()
    found = await redeem_link(token, visit.browser_digest, shop.ledger, shop.signer, shop.now())
    if not isinstance(found, SignedIn):
        raise _unusable(found)
    visit.begin_session(found.customers)
    return go(visit, f"{shop.settings.url}/view-license")


def _unusable(reason: Unusable | Unmerged) -> VisitError:
    again = "Ask for a new one on the licence page."
    match reason:
        case "other-browser":
            return VisitError(
                "link-other-browser",
                "This link works only in the browser that asked for it.",
                hint="Open it there, or ask for a new one from this browser.",
            )
        case "used":
            return VisitError("link-used", "This link was used before.", hint=again)
        case "late":
            return VisitError("link-late", "This link is too old.", hint=again)
        case "busy":
            return VisitError(
                "merge-busy", "The licences are being worked on.", hint="Try again in a minute."
            )
        case "same-customer" | "no-licence" | "other-address":
            return VisitError(
                "merge-not-possible",
                "There are no two licences to merge here.",
                hint="The licence page shows the one that you have.",
            )
        case _:
            return VisitError("link-unknown", "This link is not one of ours.", hint=again)


async def sign_out(visit: Visit) -> Response:
    """Forget what this browser has proved."""
    await read_form(visit)
    visit.end_session()
    return go(visit, f"{visit.shop.settings.url}/")


async def create_portal_session(visit: Visit) -> Response:
    """Stripe's portal of one's own ``customer``: invoices, card, plan, end."""
    fields = await read_form(visit)
    shown = await _shown(visit)
    allowed = [one.customer for one in shown]
    customer = fields.get("customer", "") or allowed[0]
    if customer not in allowed:
        raise VisitError(
            "licence-not-yours",
            "That is not a licence of yours.",
            hint="Open the licence page: it shows those that are.",
        )
    back = f"{visit.shop.settings.url}/view-license"
    return go(visit, await visit.shop.counter.checkout.open_portal(customer, back))


async def free_machine(visit: Visit) -> Response:
    """Take a ``machine`` off one's own licence, so that another one may use it."""
    fields = await read_form(visit)
    licences = [one.holding.licence.id for one in await _shown(visit) if one.holding is not None]
    for licence in licences:
        if await _freed(visit, licence, fields.get("machine", "")):
            return go(visit, f"{visit.shop.settings.url}/view-license")
    raise VisitError(
        "machine-unknown",
        "Your licence is not on such a machine any more.",
        hint="Load the licence page again.",
    )


async def _freed(visit: Visit, licence: UUID, machine: str) -> bool:
    return await visit.shop.holdings.free_machine(licence, machine)


async def ask_to_merge(visit: Visit) -> Response:
    """What the mailed offer leads to: nothing happens before the button is pressed."""
    token = visit.request.query_params.get("token", "")
    shop = visit.shop
    identifier = shop.signer.read(token)
    link = await shop.ledger.link(identifier) if identifier else None
    if link is None or link.kind != "merge":
        raise _unusable("unknown")
    if link.used is not None or shop.now() >= link.expires:
        raise _unusable("used" if link.used is not None else "late")
    records = [await shop.ledger.customer(one) for one in link.customers]
    names = {plan.id: plan.name for plan in shop.catalog.plans}
    plans = [names[one.plan] for one in records if one is not None and one.plan is not None]
    return show_page(visit.request, "merge.html", {"token": token, "plans": plans})


async def merge(visit: Visit) -> Response:
    """Make one customer of two."""
    fields = await read_form(visit)
    await count_visitor(visit, LINKS)
    shop = visit.shop
    found = await merge_customers(fields.get("token", ""), shop.signer, shop.fulfilment)
    if not isinstance(found, Merged):
        raise _unusable(found)
    visit.begin_session((found.keeper,))
    try:
        await fulfil_customer(found.keeper, shop.fulfilment)
    except StoreError as error:
        # It is noted; the sweeper goes on with it.
        if not error.retryable:
            raise
    visit.request.app.state.workroom.wake()
    return go(visit, f"{shop.settings.url}/view-license")
