"""Stripe's test cards and what each does; any other number is refused as no test card."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

Challenge: TypeAlias = Literal["never", "unless-set-up", "always"]


@dataclass(frozen=True, slots=True)
class Decline:
    """How a card refuses to pay: Stripe's code, the issuer's ``decline_code``, the words."""

    code: str
    decline_code: str | None
    message: str


@dataclass(frozen=True, slots=True)
class TestCard:
    """What a number does.

    ``decline``           every attempt to charge it fails like this
    ``decline_at_entry``  it cannot even be attached to a customer
    ``challenge``         whether it asks for 3D Secure
    ``dispute``           the reason of the dispute that follows a payment
    ``inquiry``           that dispute is only an inquiry
    ``refund``            ``pending``: refunds succeed later; ``fails``: they fail later
    """

    number: str
    decline: Decline | None = None
    decline_at_entry: bool = True
    challenge: Challenge = "never"
    dispute: str | None = None
    inquiry: bool = False
    refund: Literal["ok", "pending", "fails"] = "ok"
    brand: str = "visa"

    @property
    def last4(self) -> str:
        """The digits a customer sees."""
        return self.number[-4:]


_DECLINED = "Your card was declined."
_GENERIC = Decline("card_declined", "generic_decline", _DECLINED)
_NUMBER = Decline("incorrect_number", None, "Your card number is incorrect.")
_CARDS = (
    TestCard("4242424242424242"),
    TestCard("5555555555554444", brand="mastercard"),
    TestCard("378282246310005", brand="amex"),
    TestCard("4000000000000002", _GENERIC),
    TestCard(
        "4000000000009995",
        Decline("card_declined", "insufficient_funds", "Your card has insufficient funds."),
    ),
    TestCard("4000000000000069", Decline("expired_card", None, "Your card has expired.")),
    TestCard(
        "4000000000000127",
        Decline("incorrect_cvc", None, "Your card's security code is incorrect."),
    ),
    TestCard(
        "4000000000000119",
        Decline(
            "processing_error",
            None,
            "An error occurred while processing your card. Try again in a little bit.",
        ),
    ),
    TestCard("4242424242424241", _NUMBER),
    TestCard("4000002500003155", challenge="unless-set-up"),
    TestCard("4000002760003184", challenge="always"),
    TestCard("4000008400001629", _GENERIC, decline_at_entry=False, challenge="always"),
    TestCard("4000000000000341", _GENERIC, decline_at_entry=False),
    TestCard("4000000000000259", dispute="fraudulent"),
    TestCard("4000000000002685", dispute="product_not_received"),
    TestCard("4000000000001976", dispute="fraudulent", inquiry=True),
    TestCard("4000000000007726", refund="pending"),
    TestCard("4000000000005126", refund="fails"),
)
_BY_NUMBER = {card.number: card for card in _CARDS}
# The ready-made payment methods of Stripe's documentation that API calls may attach.
TOKENS = {
    "pm_card_visa": "4242424242424242",
    "pm_card_mastercard": "5555555555554444",
    "pm_card_chargeCustomerFail": "4000000000000341",
    "pm_card_authenticationRequired": "4000002760003184",
    "pm_card_createDispute": "4000000000000259",
}
NOT_A_TEST_CARD = Decline(
    "card_declined",
    "test_mode_live_card",
    "Your card was declined. Your request was in test mode, but used a card that is no test card.",
)


def card_of(number: str) -> TestCard | Decline:
    """The test card with this number, spaces allowed; a Decline for any other number."""
    digits = re.sub(r"[\s-]", "", number)
    known = _BY_NUMBER.get(digits)
    if known is not None:
        return known
    if not re.fullmatch(r"\d{12,19}", digits) or not _adds_up(digits):
        return _NUMBER
    return NOT_A_TEST_CARD


def test_card(number: str) -> TestCard:
    """The test card with this number; LookupError when it is none."""
    card = card_of(number)
    if isinstance(card, Decline):
        raise LookupError(number)  # noqa: TRY004 - a number that is not there, not a wrong type
    return card


def _adds_up(digits: str) -> bool:
    """Luhn's check of a card number."""
    doubled = [int(d) * (2 if place % 2 else 1) for place, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0
