"""The ``CustomerBilling`` port over Stripe's own client."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

import stripe

from shimmy_ops.adapters.accounts.stripe_errors import stripe_errors
from shimmy_ops.domain.customers.facts import BillingRecord, Document

_PAGE = 100
_NOT_FOUND = 404


class StripeCustomers:
    """Each write has a key of its own: a lasting one would replay a failure for a day."""

    def __init__(self, client: stripe.StripeClient) -> None:
        self._v1 = client.v1

    def customer_of_session(self, session: str) -> str | None:
        return self._owner(self._v1.checkout.sessions.retrieve, session)

    def customer_of_subscription(self, subscription: str) -> str | None:
        return self._owner(self._v1.subscriptions.retrieve, subscription)

    def _owner(self, retrieve: Callable[[str], Any], identifier: str) -> str | None:
        with stripe_errors():
            found = _found(lambda: retrieve(identifier))
            owner = None if found is None else found["customer"]
            named = owner["id"] if isinstance(owner, Mapping) else owner
            return str(named) if named else None

    def customers_with(self, email: str) -> tuple[str, ...]:
        with stripe_errors():
            spelled = dict.fromkeys((email, email.lower()))
            listed = [one for way in spelled for one in _all(self._v1.customers, {"email": way})]
            return tuple(dict.fromkeys(str(one["id"]) for one in listed))

    def read(self, customer: str) -> BillingRecord | None:
        with stripe_errors():
            found = _found(lambda: self._v1.customers.retrieve(customer))
            if found is None:
                return None
            of: dict[str, Any] = {"customer": customer}
            listed = _all_of_deleted if found.get("deleted") else _all
            charges = listed(self._v1.charges, of)
            methods = self._v1.customers.payment_methods
            return BillingRecord(
                found,
                listed(self._v1.subscriptions, {**of, "status": "all"}),
                listed(self._v1.invoices, {**of, "expand": ["data.payments"]}),
                charges,
                # Also those that failed, of which a charge says nothing.
                _of_charges(self._v1.refunds, charges, "paid"),
                _of_charges(self._v1.disputes, charges, "disputed"),
                listed(self._v1.checkout.sessions, of),
                listed(self._v1.payment_intents, of),
                () if found.get("deleted") else _listed(methods.list(customer, {"limit": _PAGE})),
            )

    def end_subscription(self, subscription: str) -> None:
        with stripe_errors():
            # Not credited: a credit would lie with a customer who is deleted next.
            asked = {"prorate": False, "invoice_now": False}
            # One that has ended is not found by this call any more.
            _found(lambda: self._v1.subscriptions.cancel(subscription, asked, _once()))  # type: ignore[arg-type]

    def delete_customer(self, customer: str) -> None:
        with stripe_errors():
            _found(lambda: self._v1.customers.delete(customer, None, _once()))  # type: ignore[arg-type]


def _of_charges(service: Any, charges: tuple[Document, ...], mark: str) -> tuple[Document, ...]:
    """What belongs to the charges that may have some."""
    return tuple(
        one for charge in charges if charge[mark] for one in _all(service, {"charge": charge["id"]})
    )


def _once() -> dict[str, str]:
    return {"idempotency_key": str(uuid.uuid4())}


def _found(ask: Callable[[], Any]) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = ask().to_dict()
    except stripe.InvalidRequestError as error:
        if error.http_status == _NOT_FOUND or error.code == "resource_missing":
            return None
        raise
    return found


def _all(service: Any, asked: Mapping[str, Any]) -> tuple[Document, ...]:
    return _listed(service.list({**asked, "limit": _PAGE}))


def _all_of_deleted(service: Any, asked: Mapping[str, Any]) -> tuple[Document, ...]:
    """Which lists Stripe still gives of a deleted customer it does not promise: none is empty."""
    try:
        return _all(service, asked)
    except stripe.InvalidRequestError as error:
        if error.http_status == _NOT_FOUND or error.code == "resource_missing":
            return ()
        raise


def _listed(listed: Any) -> tuple[Document, ...]:
    return tuple(one.to_dict() for one in listed.auto_paging_iter())
