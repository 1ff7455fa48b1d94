"""Checkout sessions, portal configurations and sessions, webhook endpoints, test clocks."""

from __future__ import annotations

from shimmy_sandbox.stripe_api.identity import API_VERSION, new_id, random_text
from shimmy_sandbox.stripe_api.shapes.blank import each
from shimmy_sandbox.stripe_api.store import Document

SESSION_SECONDS = 24 * 3600


def checkout_session(now: int, mode: str) -> Document:
    """An open session on which nothing is for sale yet."""
    identifier = f"cs_test_{random_text(58)}"
    absent = each(
        "after_expiration allow_promotion_codes allowed_payment_method_types "
        "billing_address_collection cancel_url client_reference_id client_secret "
        "collected_information consent consent_collection currency currency_conversion customer "
        "customer_account customer_details customer_email integration_identifier invoice locale "
        "managed_payments origin_context payment_intent payment_link payment_method_options "
        "permissions recovered_from saved_payment_method_options setup_intent "
        "shipping_address_collection shipping_cost submit_type subscription success_url "
        "wallet_options payment_method_configuration_details optional_items"
    )
    texts = ("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")
    tax = ("liability", "provider", "status")
    return {
        **absent,
        "id": identifier,
        "object": "checkout.session",
        "adaptive_pricing": {"enabled": False},
        "amount_subtotal": 0,
        "amount_total": 0,
        "automatic_tax": {**dict.fromkeys(tax), "enabled": False},
        "created": now,
        "custom_fields": [],
        "custom_text": dict.fromkeys(texts),
        "customer_creation": None,
        "discounts": [],
        "expires_at": now + SESSION_SECONDS,
        "invoice_creation": None,
        "livemode": False,
        "metadata": {},
        "mode": mode,
        "payment_method_collection": "always",
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "phone_number_collection": {"enabled": False},
        "shipping_options": [],
        "status": "open",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "url": None,
    }


def session_item(price: Document, quantity: int, description: str) -> Document:
    """One line of a checkout session."""
    amount = price["unit_amount"] * quantity
    return {
        "id": new_id("li"),
        "object": "item",
        "adjustable_quantity": None,
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": price["currency"],
        "description": description,
        "metadata": {},
        "price": price,
        "quantity": quantity,
    }


def portal_configuration(now: int) -> Document:
    """A portal that allows nothing yet."""
    return {
        "id": new_id("bpc"),
        "object": "billing_portal.configuration",
        "active": True,
        "application": None,
        "business_profile": {
            "headline": None,
            "privacy_policy_url": None,
            "terms_of_service_url": None,
        },
        "created": now,
        "default_return_url": None,
        "features": {
            "customer_update": {"allowed_updates": [], "enabled": False},
            "invoice_history": {"enabled": False},
            "payment_method_update": {"enabled": False, "payment_method_configuration": None},
            "subscription_cancel": {
                "cancellation_reason": {
                    "enabled": False,
                    "feedback_options": None,
                    "options": [],
                },
                "enabled": False,
                "mode": "at_period_end",
                "proration_behavior": "none",
            },
            "subscription_pause": {
                "duration": {"interval_options": [], "type": "indefinite"},
                "enabled": False,
            },
            "subscription_update": {
                "billing_cycle_anchor": None,
                "default_allowed_updates": [],
                "enabled": False,
                "products": [],
                "proration_behavior": "none",
                "schedule_at_period_end": {"conditions": []},
                "trial_update_behavior": "end_trial",
            },
        },
        "is_default": False,
        "livemode": False,
        "login_page": {"enabled": False, "url": None},
        "metadata": {},
        "name": None,
        "updated": now,
    }


def portal_session(now: int, configuration: str, customer: str, origin: str) -> Document:
    """A customer's visit to the portal; the link works for an hour after its last use."""
    identifier = new_id("bps")
    return {
        "id": identifier,
        "object": "billing_portal.session",
        "configuration": configuration,
        "created": now,
        "customer": customer,
        "customer_account": None,
        "flow": None,
        "livemode": False,
        "locale": None,
        "on_behalf_of": None,
        "return_url": None,
        "url": f"{origin}/p/session/{identifier}",
    }


def webhook_endpoint(now: int, url: str) -> Document:
    """Where events are delivered."""
    return {
        "id": new_id("we"),
        "object": "webhook_endpoint",
        "api_version": API_VERSION,
        "application": None,
        "created": now,
        "description": None,
        "enabled_events": [],
        "livemode": False,
        "metadata": {},
        "status": "enabled",
        "url": url,
    }


def test_clock(now: int, frozen_time: int) -> Document:
    """A clock that stands still until it is advanced."""
    return {
        "id": new_id("clock"),
        "object": "test_helpers.test_clock",
        "created": now,
        "deletes_after": now + 30 * 86400,
        "frozen_time": frozen_time,
        "livemode": False,
        "name": None,
        "status": "ready",
        "status_details": {},
    }
