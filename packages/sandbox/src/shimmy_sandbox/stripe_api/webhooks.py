"""Webhook endpoints, their secrets, and the events they are told about."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from urllib.parse import urlsplit

from shimmy_sandbox.stripe_api.books import Books
from shimmy_sandbox.stripe_api.call import Call, paged, paged_by_store
from shimmy_sandbox.stripe_api.identity import API_VERSION, random_text
from shimmy_sandbox.stripe_api.parameters import merged_metadata
from shimmy_sandbox.stripe_api.shapes.sessions import webhook_endpoint
from shimmy_sandbox.stripe_api.store import Condition, Document
from shimmy_sandbox.stripe_api.wire import invalid, unsimulated

_PENDING = (
    "SELECT count(DISTINCT endpoint) FROM deliveries WHERE event = {}"
    " AND state IN ('waiting', 'sending')"
)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_MOST_ENDPOINTS = 16
OVERLAP_SECONDS = 24 * 3600
"""How long an old secret signs beside the new one, at most."""


def create_endpoint(call: Call) -> Document:
    """An endpoint on loopback; its secret is shown this once."""
    books = call.books
    if len(books.store.find("webhook_endpoint")) >= _MOST_ENDPOINTS:
        raise invalid(f"You have reached the maximum of {_MOST_ENDPOINTS} webhook endpoints")
    version = call.params.get("api_version")
    if version not in (None, API_VERSION):
        raise unsimulated(f"api_version={version}")
    made = webhook_endpoint(books.now, _checked_url(call.params["url"]))
    made |= call.given("description", "enabled_events")
    _check_events(made["enabled_events"])
    made["metadata"] = merged_metadata({}, call.params.get("metadata"))
    secret = f"whsec_{random_text(32)}"
    made["_secrets"] = [{"secret": secret, "until": None}]
    return {**books.add(made), "secret": secret}


def _checked_url(url: str | None) -> str:
    parts = urlsplit(url or "")
    try:
        fine = parts.scheme == "http" and parts.hostname in _LOOPBACK and parts.port != 0
    except ValueError:
        fine = False
    if not fine:
        message = f"This sandbox delivers to http:// on loopback and nowhere else: {url}"
        raise invalid(message, "url", "url_invalid")
    return str(url)


def _check_events(events: list[str]) -> None:
    if not events:
        raise invalid("Give at least one event", "enabled_events", "parameter_invalid_empty")


def update_endpoint(call: Call) -> Document:
    """Change where, what or whether events are delivered."""
    endpoint = call.named("webhook_endpoint")
    changes = call.given("description", "enabled_events")
    if "enabled_events" in changes:
        _check_events(changes["enabled_events"])
    if "url" in call.params:
        changes["url"] = _checked_url(call.params["url"])
    if "disabled" in call.params:
        changes["status"] = "disabled" if call.params["disabled"] else "enabled"
    if "metadata" in call.params:
        changes["metadata"] = merged_metadata(endpoint["metadata"], call.params["metadata"])
    return call.books.change(endpoint, changes)


def delete_endpoint(call: Call) -> Document:
    """Forget an endpoint; what was not delivered never will be."""
    endpoint = call.named("webhook_endpoint")
    store = call.books.store
    store.execute("DELETE FROM objects WHERE id = ?", endpoint["id"])
    store.execute("DELETE FROM deliveries WHERE endpoint = ? AND state = 'waiting'", endpoint["id"])
    return {"id": endpoint["id"], "object": "webhook_endpoint", "deleted": True}


def list_endpoints(call: Call) -> Document:
    """Endpoints, newest first, without their secrets."""
    return paged(call, call.books.store.find("webhook_endpoint"))


def show_endpoint(call: Call) -> Document:
    """One endpoint, without its secret."""
    return call.named("webhook_endpoint")


def rotate_secret(books: Books, endpoint: Document, overlap_seconds: int) -> str:
    """A new secret; the old ones sign too for ``overlap_seconds`` of simulated time."""
    until = books.now + min(overlap_seconds, OVERLAP_SECONDS)
    kept = [
        {**held, "until": until if held["until"] is None else held["until"]}
        for held in endpoint["_secrets"]
    ]
    fresh = f"whsec_{random_text(32)}"
    books.change(endpoint, {"_secrets": [{"secret": fresh, "until": None}, *kept]})
    return fresh


def secrets_of(endpoint: Document, now: int) -> list[str]:
    """The secrets still good at ``now`` (simulated), newest first."""
    held = endpoint["_secrets"]
    return [one["secret"] for one in held if one["until"] is None or one["until"] > now]


def signature_header(endpoint: Document, payload: bytes, now: int, timestamp: int) -> str:
    """``Stripe-Signature``: one ``v1`` for every secret still good at ``now`` (simulated)."""
    parts = [f"t={timestamp}"]
    signed = f"{timestamp}.".encode() + payload
    for secret in secrets_of(endpoint, now):
        digest = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
        parts.append(f"v1={digest}")
    return ",".join(parts)


def list_events(call: Call) -> Document:
    """Events, newest first, of a type, of several, or all."""
    wanted = call.params.get("types") or ([call.params["type"]] if "type" in call.params else None)
    tests = [] if wanted is None else [_of_types(wanted)]
    if "delivery_success" in call.params:
        sign = "=" if call.params["delivery_success"] else ">"
        tests.append(Condition(f"({_PENDING.format('objects.id')}) {sign} 0"))
    page = paged_by_store(call, "event", tests)
    page["data"] = [_with_pending(call.books, one) for one in page["data"]]
    return page


def _of_types(wanted: Sequence[str]) -> Condition:
    """``charge.*`` stands for all that begin so."""
    kind = "json_extract(body, '$.type')"
    each = [
        f"substr({kind}, 1, {len(one) - 1}) = ?" if one.endswith("*") else f"{kind} = ?"
        for one in wanted
    ]
    return Condition(f"({' OR '.join(each)})", tuple(one.removesuffix("*") for one in wanted))


def show_event(call: Call) -> Document:
    """One event."""
    return _with_pending(call.books, call.named("event"))


def _pending(books: Books, event: str) -> int:
    """To how many endpoints an event has still to be delivered."""
    return int(books.store.rows(_PENDING.format("?"), event)[0][0])


def _with_pending(books: Books, event: Document) -> Document:
    return {**event, "pending_webhooks": _pending(books, event["id"])}


def payload_of(books: Books, event: Document) -> Document:
    """The event as it is delivered."""
    return _with_pending(books, event)
