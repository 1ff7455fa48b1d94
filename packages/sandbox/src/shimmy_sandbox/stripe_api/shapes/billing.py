"""Subscriptions, their items, invoices and invoice lines."""

from __future__ import annotations

from typing import Any

from shimmy_sandbox.stripe_api.books import listing
from shimmy_sandbox.stripe_api.identity import new_id
from shimmy_sandbox.stripe_api.shapes.blank import each
from shimmy_sandbox.stripe_api.store import Document


def plan_of(price: Document) -> Document:
    """The old-style plan that subscription items still show beside their price."""
    recurring = price["recurring"] or {}
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": "per_unit",
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring.get("interval"),
        "interval_count": recurring.get("interval_count"),
        "livemode": False,
        "metadata": {},
        "meter": None,
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": None,
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }


def subscription_item(
    now: int, subscription: str, price: Document, quantity: int, period: tuple[int, int]
) -> Document:
    """One price a subscription pays for; the period lives here."""
    return {
        "id": new_id("si"),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": now,
        "current_period_end": period[1],
        "current_period_start": period[0],
        "current_trial": None,
        "discounts": [],
        "metadata": {},
        "plan": plan_of(price),
        "price": price,
        "quantity": quantity,
        "subscription": subscription,
        "tax_rates": [],
    }


def subscription(now: int, customer: str, currency: str) -> Document:
    """A subscription without items yet, billed in flexible mode."""
    identifier = new_id("sub")
    absent = each(
        "application application_fee_percent billing_cycle_anchor_config billing_thresholds "
        "cancel_at canceled_at customer_account days_until_due default_payment_method "
        "default_source description ended_at latest_invoice next_pending_invoice_item_invoice "
        "on_behalf_of pause_collection pending_invoice_item_interval pending_setup_intent "
        "pending_update schedule test_clock transfer_data trial_end trial_start"
    )
    reasons = ("comment", "feedback", "feedback_option", "reason")
    settings = ("account_tax_ids", "custom_fields", "description", "footer")
    return {
        **absent,
        "id": identifier,
        "object": "subscription",
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": now,
        "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible"},
        "billing_schedules": [],
        "cancel_at_period_end": False,
        "cancellation_details": dict.fromkeys(reasons),
        "collection_method": "charge_automatically",
        "created": now,
        "currency": currency,
        "customer": customer,
        "default_tax_rates": [],
        "discounts": [],
        "invoice_settings": {**dict.fromkeys(settings), "issuer": {"type": "self"}},
        "items": listing([], f"/v1/subscription_items?subscription={identifier}"),
        "livemode": False,
        "managed_payments": {"enabled": False},
        "metadata": {},
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "start_date": now,
        "status": "active",
        "trial_settings": {
            "end_behavior": {
                "billing_cycle_anchor": None,
                "missing_payment_method": "create_invoice",
            }
        },
    }


def invoice(now: int, customer: Document, currency: str, reason: str) -> Document:
    """A draft without lines; ``reason`` is its billing_reason."""
    identifier = new_id("in")
    absent = each(
        "account_tax_ids application automatically_finalizes_at custom_fields customer_account "
        "customer_shipping default_payment_method default_source description due_date "
        "effective_at ending_balance footer from_invoice last_finalization_error latest_revision "
        "next_payment_attempt number on_behalf_of parent receipt_number rendering shipping_cost "
        "shipping_details statement_descriptor test_clock webhooks_delivered_at"
    )
    zero = each(
        "amount_due amount_overpaid amount_paid amount_remaining amount_shipping attempt_count "
        "post_payment_credit_notes_amount pre_payment_credit_notes_amount starting_balance "
        "subtotal subtotal_excluding_tax total total_excluding_tax"
    )
    moments = ("finalized_at", "marked_uncollectible_at", "paid_at", "voided_at")
    tax = ("disabled_reason", "liability", "provider", "status")
    empty: Document = {
        name: []
        for name in each(
            "customer_tax_ids default_tax_rates discounts total_discount_amounts "
            "total_pretax_credit_amounts total_taxes"
        )
    }
    return {
        **absent,
        **dict.fromkeys(zero, 0),
        **empty,
        "id": identifier,
        "object": "invoice",
        "account_country": "US",
        "account_name": "Shimmy Sandbox",
        "attempted": False,
        "auto_advance": True,
        "automatic_tax": {**dict.fromkeys(tax), "enabled": False},
        "billing_reason": reason,
        "collection_method": "charge_automatically",
        "created": now,
        "currency": currency,
        **_of(customer),
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "lines": listing([], f"/v1/invoices/{identifier}/lines"),
        "livemode": False,
        "metadata": {},
        "payment_settings": {
            "default_mandate": None,
            "payment_method_options": None,
            "payment_method_types": None,
        },
        "period_end": now,
        "period_start": now,
        "status": "draft",
        "status_transitions": dict.fromkeys(moments),
    }


def _of(customer: Document) -> Document:
    """What an invoice remembers of its customer."""
    return {
        "customer": customer["id"],
        "customer_address": customer.get("address"),
        "customer_email": customer.get("email"),
        "customer_name": customer.get("name"),
        "customer_phone": customer.get("phone"),
        "customer_tax_exempt": customer.get("tax_exempt", "none"),
    }


def invoice_line(
    amount: int,
    price: Document,
    quantity: int,
    period: tuple[int, int],
    description: str,
    parent: Document | None = None,
) -> Document:
    """One line of an invoice; ``parent`` says what it came of."""
    return {
        "id": new_id("il"),
        "object": "line_item",
        "amount": amount,
        "currency": price["currency"],
        "description": description,
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": None,
        "livemode": False,
        "metadata": {},
        "parent": parent,
        "period": {"end": period[1], "start": period[0]},
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        "quantity": quantity,
        "quantity_decimal": str(quantity),
        "subscription": None,
        "subtotal": amount,
        "taxes": [],
    }


def item_parent(item: Document, *, proration: bool, credited: Document | None = None) -> Document:
    """A line's parent: the subscription item, and whether it settles a change.

    ``credited`` names the lines that a credit gives back of. A proration comes of an invoice item
    and is a line of its subscription item all the same.
    """
    details: dict[str, Any] = {
        "invoice_item": new_id("ii") if proration else None,
        "proration": proration,
        "proration_details": {"credited_items": credited},
        "subscription": item["subscription"],
        "subscription_item": item["id"],
    }
    return {
        "invoice_item_details": None,
        "subscription_item_details": details,
        "type": "subscription_item_details",
    }


def one_time_parent(subscription: str | None) -> Document:
    """The parent of a line for what is bought once: an invoice item."""
    details: dict[str, Any] = {
        "invoice_item": new_id("ii"),
        "proration": False,
        "proration_details": {"credited_items": None},
        "subscription": subscription,
    }
    return {
        "invoice_item_details": details,
        "subscription_item_details": None,
        "type": "invoice_item_details",
    }
