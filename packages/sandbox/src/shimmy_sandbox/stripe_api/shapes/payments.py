"""Payment intents, charges, refunds, disputes and the payments of invoices."""

from __future__ import annotations

from typing import Any

from shimmy_sandbox.stripe_api.identity import new_id, random_text
from shimmy_sandbox.stripe_api.shapes.blank import each
from shimmy_sandbox.stripe_api.shapes.catalogue import billing_details
from shimmy_sandbox.stripe_api.store import Document


def payment_intent(now: int, amount: int, currency: str, customer: str | None) -> Document:
    """A payment that nobody has tried to make."""
    identifier = new_id("pi")
    absent = each(
        "application application_fee_amount automatic_payment_methods canceled_at "
        "cancellation_reason customer_account description excluded_payment_method_types "
        "last_payment_error latest_charge managed_payments next_action on_behalf_of "
        "payment_method payment_method_configuration_details payment_record processing "
        "receipt_email review setup_future_usage shipping source statement_descriptor "
        "statement_descriptor_suffix transfer_data transfer_group"
    )
    return {
        **absent,
        "id": identifier,
        "object": "payment_intent",
        "allowed_payment_method_types": None,
        "amount": amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "capture_method": "automatic",
        "client_secret": f"{identifier}_secret_{random_text(24)}",
        "confirmation_method": "automatic",
        "created": now,
        "currency": currency,
        "customer": customer,
        "livemode": False,
        "metadata": {},
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "status": "requires_payment_method",
    }


def charge(now: int, intent: Document, method: Document) -> Document:
    """One attempt to take the money of ``intent``."""
    absent = each(
        "application application_fee application_fee_amount balance_transaction customer_account "
        "failure_balance_transaction failure_code failure_message on_behalf_of outcome "
        "receipt_number receipt_url review shipping source source_transfer "
        "statement_descriptor_suffix transfer_data transfer_group"
    )
    return {
        **absent,
        "id": new_id("ch"),
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "billing_details": method.get("billing_details") or billing_details(),
        "calculated_statement_descriptor": "SHIMMY SANDBOX",
        "captured": False,
        "created": now,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "fraud_details": {},
        "livemode": False,
        "metadata": dict(intent["metadata"]),
        "paid": False,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": _method_details(method),
        "receipt_email": intent["receipt_email"],
        "refunded": False,
        "statement_descriptor": intent["statement_descriptor"],
        "status": "pending",
    }


def _method_details(method: Document) -> Document:
    if method["type"] != "card":
        return {"type": method["type"], method["type"]: {}}
    card = method["card"]
    kept = ("brand", "checks", "country", "exp_month", "exp_year", "fingerprint", "funding")
    absent = each(
        "amount_authorized authorization_code electronic_commerce_indicator installments mandate "
        "network_transaction_id three_d_secure transaction_link_id wallet"
    )
    details: Document = {**absent, **{name: card[name] for name in kept}}
    details |= {"last4": card["last4"], "network": card["brand"], "regulated_status": None}
    return {"type": "card", "card": details}


def refund(now: int, charge_document: Document, amount: int) -> Document:
    """Money on its way back."""
    return {
        "id": new_id("re"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge_document["id"],
        "created": now,
        "currency": charge_document["currency"],
        "customer": charge_document["customer"],
        "customer_account": None,
        "destination_details": {
            "type": "card",
            "card": {"reference_status": "pending", "type": "refund"},
        },
        "metadata": {},
        "payment_intent": charge_document["payment_intent"],
        "payment_method": charge_document["payment_method"],
        "reason": None,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    }


_EVIDENCE = each(
    "access_activity_log billing_address cancellation_policy cancellation_policy_disclosure "
    "cancellation_rebuttal customer_communication customer_email_address customer_name "
    "customer_purchase_ip customer_signature duplicate_charge_documentation "
    "duplicate_charge_explanation duplicate_charge_id product_description receipt refund_policy "
    "refund_policy_disclosure refund_refusal_explanation service_date service_documentation "
    "shipping_address shipping_carrier shipping_date shipping_documentation "
    "shipping_tracking_number uncategorized_file uncategorized_text"
)


def dispute(now: int, charge_document: Document, reason: str, *, inquiry: bool) -> Document:
    """A cardholder's complaint; an inquiry takes no money yet."""
    kind = "inquiry" if inquiry else "chargeback"
    card = charge_document["payment_method_details"].get("card", {})
    details: dict[str, Any] = {
        "brand": card.get("brand", "visa"),
        "case_type": kind,
        "network": card.get("brand", "visa"),
        "network_reason_code": "83",
    }
    return {
        "id": new_id("du"),
        "object": "dispute",
        "amount": charge_document["amount"],
        "balance_transactions": [],
        "charge": charge_document["id"],
        "created": now,
        "currency": charge_document["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {**_EVIDENCE, "enhanced_evidence": {}},
        "evidence_details": {
            "due_by": now + 7 * 86400,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        "intended_submission_method": None,
        "is_charge_refundable": inquiry,
        "livemode": False,
        "metadata": {},
        "network_reason_code": "83",
        "payment_intent": charge_document["payment_intent"],
        "payment_method_details": {"type": "card", "card": details},
        "reason": reason,
        "status": "warning_needs_response" if inquiry else "needs_response",
    }


def invoice_payment(now: int, invoice: Document, intent: str) -> Document:
    """The link from an invoice to the payment intent that pays it."""
    return {
        "id": new_id("inpay"),
        "object": "invoice_payment",
        "amount_paid": None,
        "amount_requested": invoice["amount_due"],
        "created": now,
        "currency": invoice["currency"],
        "invoice": invoice["id"],
        "is_default": True,
        "livemode": False,
        "payment": {"payment_intent": intent, "type": "payment_intent"},
        "status": "open",
        "status_transitions": {"canceled_at": None, "paid_at": None},
    }
