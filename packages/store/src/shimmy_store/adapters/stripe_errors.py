"""Stripe's errors in the store's words: the one place that translates them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import httpx
import stripe

from shimmy_store.errors import PaymentsError

NOT_FOUND = 404
_PASSING = (stripe.APIConnectionError, stripe.RateLimitError, stripe.APIError)
_NOT_ALLOWED = (stripe.AuthenticationError, stripe.PermissionError)


@contextmanager
def stripe_errors() -> Iterator[None]:
    """Raises PaymentsError for whatever Stripe or its client says within."""
    try:
        yield
    except stripe.StripeError as error:
        raise _translated(error) from error
    except httpx.HTTPError as error:
        raise PaymentsError(
            "payments-cut-off",
            f"The connection to Stripe broke: {type(error).__name__}.",
            hint="It is tried again later.",
            retryable=True,
        ) from error
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise PaymentsError(
            "payments-malformed",
            f"Stripe's objects are of another shape than expected: {error}.",
            hint="Compare the account's API version with the one this store pins.",
            # As any other mistake of ours: mended with the next version, and nothing lost.
            retryable=True,
        ) from error


def _translated(error: stripe.StripeError) -> PaymentsError:
    if _is_not_allowed(error):
        return PaymentsError(
            "payments-not-allowed",
            f"Stripe does not let us in: {error.code or type(error).__name__}.",
            hint="Check the key, its mode, its permissions and the account. It is tried again.",
            retryable=True,
        )
    if isinstance(error, _PASSING):
        return PaymentsError(
            "payments-unreachable",
            f"Stripe was not reached or is failing: {type(error).__name__}.",
            hint="It is tried again later.",
            retryable=True,
        )
    return PaymentsError(
        "payments-refused",
        f"Stripe refuses: {error.code or type(error).__name__}.",
        hint="Look at the object in Stripe's dashboard.",
    )


def _is_not_allowed(error: stripe.StripeError) -> bool:
    """Of the key, the account or the address, whatever was asked for: an operator mends it.

    A card's refusal has the status of an account's, but says what is wrong with that card.
    """
    status = error.http_status or 0
    of_account = status == HTTPStatus.PAYMENT_REQUIRED and not error.code
    elsewhere = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
    return isinstance(error, _NOT_ALLOWED) or of_account or elsewhere
