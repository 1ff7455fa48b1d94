"""Which handler answers what: Stripe's paths below ``/v1/``."""

from __future__ import annotations

from collections.abc import Mapping

from shimmy_sandbox.stripe_api import (
    account,
    catalogue,
    checkout,
    customers,
    disputes,
    invoices,
    passing_time,
    portal,
    refunds,
    search,
    subscriptions,
    webhooks,
)
from shimmy_sandbox.stripe_api.call import Handler

ROUTES: Mapping[str, Handler] = {
    "GET account": account.show_account,
    "GET payment_method_configurations": account.list_method_configurations,
    "POST payment_method_configurations/{id}": account.update_method_configuration,
    "POST checkout/sessions": checkout.create_session,
    "GET checkout/sessions": checkout.list_sessions,
    "GET checkout/sessions/{id}": checkout.show_session,
    "POST checkout/sessions/{id}/expire": checkout.expire_session,
    "GET checkout/sessions/{id}/line_items": checkout.list_line_items,
    "POST customers": customers.create_customer,
    "GET customers": customers.list_customers,
    "GET customers/search": search.search_customers,
    "GET customers/{id}": customers.show_customer,
    "POST customers/{id}": customers.update_customer,
    "DELETE customers/{id}": customers.delete_customer,
    "GET customers/{id}/payment_methods": customers.list_payment_methods,
    "GET payment_methods/{id}": customers.show_payment_method,
    "POST payment_methods/{id}/attach": customers.attach_payment_method,
    "POST payment_methods/{id}/detach": customers.detach_payment_method,
    "POST products": catalogue.create_product,
    "GET products": catalogue.list_products,
    "GET products/search": search.search_products,
    "GET products/{id}": catalogue.show_product,
    "POST products/{id}": catalogue.update_product,
    "POST prices": catalogue.create_price,
    "GET prices": catalogue.list_prices,
    "GET prices/search": search.search_prices,
    "GET prices/{id}": catalogue.show_price,
    "POST prices/{id}": catalogue.update_price,
    "POST webhook_endpoints": webhooks.create_endpoint,
    "GET webhook_endpoints": webhooks.list_endpoints,
    "GET webhook_endpoints/{id}": webhooks.show_endpoint,
    "POST webhook_endpoints/{id}": webhooks.update_endpoint,
    "DELETE webhook_endpoints/{id}": webhooks.delete_endpoint,
    "POST billing_portal/configurations": portal.create_configuration,
    "GET billing_portal/configurations": portal.list_configurations,
    "GET billing_portal/configurations/{id}": portal.show_configuration,
    "POST billing_portal/configurations/{id}": portal.update_configuration,
    "POST billing_portal/sessions": portal.create_session,
    "GET subscriptions": subscriptions.list_subscriptions,
    "GET subscriptions/{id}": subscriptions.show_subscription,
    "POST subscriptions/{id}": subscriptions.update_subscription,
    "DELETE subscriptions/{id}": subscriptions.cancel_subscription,
    "POST subscriptions/{id}/resume": subscriptions.resume_subscription,
    "GET invoices": invoices.list_invoices,
    "POST invoices/create_preview": invoices.preview_invoice,
    "GET invoices/{id}": invoices.show_invoice,
    "GET invoices/{id}/lines": invoices.list_lines,
    "POST invoices/{id}/pay": invoices.pay_invoice,
    "GET invoice_payments": invoices.list_invoice_payments,
    "GET invoice_payments/{id}": invoices.show_invoice_payment,
    "GET payment_intents": invoices.list_payment_intents,
    "GET payment_intents/{id}": invoices.show_payment_intent,
    "GET charges": invoices.list_charges,
    "GET charges/{id}": invoices.show_charge,
    "POST refunds": refunds.create_refund,
    "GET refunds": refunds.list_refunds,
    "GET refunds/{id}": refunds.show_refund,
    "GET disputes": disputes.list_disputes,
    "GET disputes/{id}": disputes.show_dispute,
    "GET events": webhooks.list_events,
    "GET events/{id}": webhooks.show_event,
    "POST test_helpers/test_clocks": passing_time.create_clock,
    "GET test_helpers/test_clocks/{id}": passing_time.show_clock,
    "DELETE test_helpers/test_clocks/{id}": passing_time.delete_clock,
    "POST test_helpers/test_clocks/{id}/advance": passing_time.advance_clock,
}


def route_for(method: str, path: str) -> tuple[str, str] | None:
    """The operation that ``path`` (below ``/v1/``) asks for, and the id in it."""
    exact = f"{method} {path}"
    if exact in ROUTES:
        return exact, ""
    steps = path.split("/")
    for operation in ROUTES:
        allowed, _, pattern = operation.partition(" ")
        wanted = pattern.split("/")
        if allowed != method or len(wanted) != len(steps):
            continue
        held = [given for part, given in zip(wanted, steps, strict=True) if part == "{id}"]
        same = all(part in ("{id}", given) for part, given in zip(wanted, steps, strict=True))
        if same and held and held[0]:
            return operation, held[0]
    return None
