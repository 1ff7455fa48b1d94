"""Stripe's errors in the store's words: the one place that translates them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import stripe

from shimmy_store.errors import PaymentsError

NOT_FOUND = 404


@contextmanager
def stripe_errors() -> Iterator[None]:
    """Raises PaymentsError for whatever Stripe or its client says within."""
    try:
        yield
    except (stripe.APIConnectionError, stripe.RateLimitError, stripe.APIError) as error:
        raise PaymentsError(
            "payments-unreachable",
            f"Stripe was not reached or is failing: {type(error).__name__}.",
            hint="It is tried again later.",
            retryable=True,
        ) from error
    except stripe.StripeError as error:
        raise PaymentsError(
            "payments-refused",
            f"Stripe refuses: {error.code or type(error).__name__}.",
            hint="Check the key, its mode and its permissions.",
        ) from error
    except httpx.HTTPError as error:
        raise PaymentsError(
            "payments-cut-off",
            f"The connection to Stripe broke: {type(error).__name__}.",
            hint="It is tried again later.",
            retryable=True,
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise PaymentsError(
            "payments-malformed",
            f"Stripe's objects are of another shape than expected: {error}.",
            hint="Compare the account's API version with the one this store pins.",
        ) from error
