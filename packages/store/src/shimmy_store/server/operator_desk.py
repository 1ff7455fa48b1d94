"""What the operator's tools ask of a running store: figures, one customer, alarms, a test mail."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from shimmy_store import __version__
from shimmy_store.domain.fulfilment import Alarm
from shimmy_store.domain.json_text import parse_json
from shimmy_store.domain.mailboxes import looks_like_address
from shimmy_store.errors import MailError, VisitError
from shimmy_store.server.operator_gate import (
    answer,
    customer_in,
    malformed,
    read_customer,
    read_fields,
    tell_operator,
)
from shimmy_store.server.operator_words import (
    alarm_written,
    figures_written,
    file_written,
    rows_written,
    written,
)
from shimmy_store.use_cases.erase_customer import MergedAway, erase_customer
from shimmy_store.use_cases.export_customer import export_customer
from shimmy_store.use_cases.find_customers import find_customers
from shimmy_store.use_cases.fulfil_customer import fulfil_customer
from shimmy_store.use_cases.probe_mail import probe_mail
from shimmy_store.use_cases.show_figures import show_figures
from shimmy_store.wiring import Shop

_HOURS, _MOST_HOURS = 24, 744


async def operator_figures(request: Request, shop: Shop) -> Response:
    """What there is now, and how long things took in the last hours."""
    figures = await show_figures(shop.desk, shop.now(), timedelta(hours=_read_hours(request)))
    facts = {
        "started": written(request.app.state.started),
        "version": __version__,
        "mode": shop.settings.mode,
        # Public; preflight compares it with the account's.
        "keygen_public_key": shop.settings.keygen_public_key,
    }
    return answer(figures_written(figures, facts))


def _read_hours(request: Request) -> int:
    given = request.query_params
    if given.keys() - {"hours"} or len(given.multi_items()) > 1:
        raise malformed("hours is the only parameter, once.")
    hours = given.get("hours", str(_HOURS))
    if not re.fullmatch(r"[1-9][0-9]{0,2}", hours) or int(hours) > _MOST_HOURS:
        raise malformed(f"hours is a whole number from 1 to {_MOST_HOURS}.")
    return int(hours)


async def operator_customers(request: Request, shop: Shop) -> Response:
    """What the ledger knows of whoever has this id, or this address."""
    fields = await read_fields(request, "customer", "email")
    if len(fields) != 1:
        raise malformed("Give customer or email: one of the two.")
    if "customer" in fields:
        found = await find_customers(shop.desk, customer=customer_in(fields))
    else:
        found = await find_customers(shop.desk, email=fields["email"])
    return answer({"customers": [file_written(one) for one in found]})


async def operator_look(request: Request, shop: Shop) -> Response:
    """Settle one customer now, as ``shimmy-store reconcile --customer``."""
    customer = await read_customer(request)
    outcome = await fulfil_customer(customer, shop.fulfilment)
    request.app.state.workroom.wake()
    return answer({"customer": customer, "outcome": outcome})


async def operator_export(request: Request, shop: Shop) -> Response:
    """Everything that the ledger holds about one customer."""
    customer = await read_customer(request)
    rows = await export_customer(customer, shop.desk)
    if rows == "unknown":
        raise _unknown()
    tables = {name: rows_written(name, found) for name, found in rows.items()}
    for event in tables["events"]:
        event["body"] = _parsed(event["body"])
    return answer({"customer": customer, "made": written(shop.now()), "tables": tables})


def _parsed(body: str) -> Any:
    try:
        return parse_json(body) if body else None
    except ValueError:
        return None


async def operator_erase(request: Request, shop: Shop) -> Response:
    """Forget a customer; the licence ends at once where Stripe and Keygen answer."""
    customer = await read_customer(request)
    outcome = await erase_customer(customer, shop.desk, shop.now())
    if outcome == "unknown":
        raise _unknown()
    if isinstance(outcome, MergedAway):
        raise VisitError(
            "customer-merged",
            f"The customer is merged into {outcome.keeper}.",
            hint="Erase that one: whoever is merged into it is erased with it.",
        )
    request.app.state.workroom.wake()
    return answer({"customer": customer, "erased": written(outcome.at), "rows": dict(outcome.rows)})


def _unknown() -> VisitError:
    return VisitError("customer-unknown", "The ledger has nothing of this customer.")


async def operator_alarms(_request: Request, shop: Shop) -> Response:
    """What a person should look at."""
    return answer({"alarms": [alarm_written(one) for one in await shop.desk.alarms()]})


async def operator_alarm_done(request: Request, shop: Shop) -> Response:
    """Somebody has looked at this one."""
    fields = await read_fields(request, "code", "subject")
    if len(fields) != 2:
        raise malformed("Give code and subject.")
    alarm = Alarm(fields["code"], fields["subject"])  # type: ignore[arg-type]
    return answer({"done": await shop.ledger.acknowledge_alarm(alarm, shop.now())})


async def operator_mail_probe(request: Request, shop: Shop) -> Response:
    """One test mail, now."""
    to = (await read_fields(request, "to")).get("to", "")
    if not looks_like_address(to):
        raise malformed("to is missing, or is no address.")
    try:
        seconds = await probe_mail(to, shop.office.mailer, time.perf_counter)
    except MailError as error:
        # Whatever may help later: the answer is about this one try.
        return tell_operator(request, error, HTTPStatus.BAD_GATEWAY)
    return answer({"sent": True, "seconds": seconds})
