"""Stripe's errors in our words: the one place that translates them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import stripe

from shimmy_ops.errors import BillingError

_PASSING = (stripe.APIConnectionError, stripe.RateLimitError, stripe.APIError)
_NOT_ALLOWED = (stripe.AuthenticationError, stripe.PermissionError)


@contextmanager
def stripe_errors() -> Iterator[None]:
    """Raises BillingError for whatever Stripe or its client says within; never its text.

    Stripe repeats a part of a wrong key in its messages.
    """
    try:
        yield
    except stripe.StripeError as error:
        raise _translated(error) from None
    except httpx.HTTPError as error:
        raise BillingError(
            "billing-cut-off",
            f"The connection to Stripe broke: {type(error).__name__}.",
            hint="Run it again: it goes on where it was.",
            retryable=True,
        ) from None
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise BillingError(
            "billing-malformed",
            f"Stripe's objects are of another shape than expected: {type(error).__name__}.",
            hint="Something else may be answering at Stripe's address.",
        ) from error


def _translated(error: stripe.StripeError) -> BillingError:
    if isinstance(error, _NOT_ALLOWED):
        return BillingError(
            "billing-not-allowed",
            f"Stripe does not let us in: {error.code or type(error).__name__}.",
            hint="Check the key: writing products, prices, portal and webhook endpoints.",
        )
    if isinstance(error, _PASSING):
        return BillingError(
            "billing-unreachable",
            f"Stripe was not reached or is failing: {type(error).__name__}.",
            hint="Run it again: it goes on where it was.",
            retryable=True,
        )
    place = f" about {error.param}" if isinstance(error, stripe.InvalidRequestError) else ""
    return BillingError(
        "billing-refused",
        f"Stripe refuses: {error.code or type(error).__name__}{place}.",
        hint=f"Look up request {error.request_id} in Stripe's dashboard."
        if error.request_id
        else "",
    )
