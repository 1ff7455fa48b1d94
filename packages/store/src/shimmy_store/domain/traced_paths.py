"""How a trace names what we ask Stripe and Keygen for: by words of theirs, never by an id."""

from __future__ import annotations

from urllib.parse import urlsplit

# What is not among them may be an id, so that it is left out.
_WORDS = frozenset(
    {
        *("v1", "accounts", "actions", "billing_portal", "charges", "check-in", "checkout"),
        *("configurations", "customers", "disputes", "events", "expire", "invoices", "licenses"),
        *("line_items", "lines", "machines", "me", "payment_intents", "policies", "policy"),
        *(
            "prices",
            "products",
            "refunds",
            "reinstate",
            "reset-usage",
            "search",
            "sessions",
            "subscriptions",
        ),
        *("suspend", "usage", "users", "validate", "validate-key", "emails"),
    }
)


def name_path(url: str) -> str:
    """The path with ``*`` for whatever is no word of the API; no host and no query."""
    path = urlsplit(url).path.strip("/")
    return "/" + "/".join(one if one in _WORDS else "*" for one in path.split("/"))
