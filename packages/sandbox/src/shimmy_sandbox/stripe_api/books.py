"""The account's books as one request sees them: objects read, changed and announced as events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from shimmy_sandbox.stripe_api.identity import API_VERSION, new_id
from shimmy_sandbox.stripe_api.store import Document, Store
from shimmy_sandbox.stripe_api.wire import no_such

_NAMES = {
    "checkout.session": "checkout.session",
    "test_helpers.test_clock": "billing_clock",
    "billing_portal.configuration": "configuration",
    "billing_portal.session": "session",
    "payment_method": "PaymentMethod",
    "payment_intent": "payment_intent",
}
# Shown only where a caller expands them.
_INCLUDABLE = {
    "checkout.session": ("line_items",),
    "customer": ("subscriptions", "sources", "tax_ids"),
    "invoice": ("payments",),
    "charge": ("refunds",),
}


@dataclass(frozen=True, slots=True)
class Books:
    """The store at one moment, on behalf of one request or of time itself.

    ``now``              Unix seconds, of the test clock when the object has one
    ``origin``           where the hosted pages are: ``http://127.0.0.1:PORT``
    ``request_id``       ``req_…``, None for what happens by itself
    ``idempotency_key``  the request's, named in its events
    ``delivering``       the account's own moment: deliveries go by no test clock; None is ``now``
    """

    store: Store
    now: int
    origin: str
    request_id: str | None = None
    idempotency_key: str | None = None
    delivering: float | None = None

    def at(self, moment: int) -> Books:
        """The same books at another moment."""
        delivering = self.now if self.delivering is None else self.delivering
        return replace(self, now=moment, delivering=delivering)

    def for_customer(self, customer: str | None) -> Books:
        """The same books by the clock this customer lives by."""
        found = self.store.get(customer) if customer else None
        clock = self.store.get(found["_clock"]) if found and found.get("_clock") else None
        return self.at(clock["frozen_time"]) if clock else self

    def get(self, kind: str, identifier: str, param: str | None = None) -> Document:
        """The object of ``kind`` with this id; ``param`` names the parameter that gave it."""
        found = self.store.get(identifier)
        if found is None or found["object"] != kind or found.get("deleted"):
            name = _NAMES.get(kind, kind)
            status = 404 if param is None else 400
            raise no_such(name, identifier, param or "id", status)
        return found

    def add(self, document: Document, event: str | None = None) -> Document:
        """Enter a new object, on its customer's test clock, and announce it."""
        owner = self.store.get(document["customer"]) if document.get("customer") else None
        if owner and owner.get("_clock"):
            document["_clock"] = owner["_clock"]
            if "test_clock" in document:
                document["test_clock"] = owner["_clock"]
        self.store.save(document)
        if event:
            self.announce(event, document)
        return document

    def change(
        self, document: Document, changes: Mapping[str, Any], event: str | None = None
    ) -> Document:
        """``document`` with ``changes``; announced only when something visible changed."""
        changed = {**document, **changes}
        if changed != document:
            self.store.save(changed)
        previous = difference(public(document), public(changed))
        if event and previous:
            self.announce(event, changed, previous)
        return changed

    def announce(
        self, kind: str, document: Document, previous: Mapping[str, Any] | None = None
    ) -> Document:
        """An event about ``document`` as it is now, queued for every endpoint that wants it."""
        data: Document = {"object": public(document)}
        if previous is not None:
            data["previous_attributes"] = dict(previous)
        event: Document = {
            "id": new_id("evt"),
            "object": "event",
            "api_version": API_VERSION,
            "created": self.now,
            "data": data,
            "livemode": False,
            "pending_webhooks": 0,
            "request": {"id": self.request_id, "idempotency_key": self.idempotency_key},
            "type": kind,
        }
        self.store.save(event)
        for endpoint in self.store.find("webhook_endpoint", status="enabled"):
            wanted = endpoint["enabled_events"]
            if "*" in wanted or kind in wanted:
                self._queue(event, endpoint["id"])
        return event

    def _queue(self, event: Document, endpoint: str) -> None:
        dropped = event["type"] in self.store.setting("drop", [])
        copies = 1 + int(self.store.setting("duplicate", 0))
        now = self.now if self.delivering is None else self.delivering
        due = now + float(self.store.setting("delay_seconds", 0))
        for _ in range(copies):
            self.store.execute(
                "INSERT INTO deliveries (event, endpoint, due, first, state) VALUES (?,?,?,?,?)",
                event["id"],
                endpoint,
                due,
                now,
                "dropped" if dropped else "waiting",
            )


def public(document: Mapping[str, Any], included: tuple[str, ...] = ()) -> Document:
    """What others may see of ``document``: nothing of ours, nothing that must be asked for."""
    hidden = includable(document)
    return {
        name: _public(value)
        for name, value in document.items()
        if not name.startswith("_") and (name not in hidden or name in included)
    }


def includable(document: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields of ``document`` that are shown only when they are asked for."""
    kind = document.get("object")
    # The data of an event calls a whole document "object".
    return _INCLUDABLE.get(kind, ()) if isinstance(kind, str) else ()


def _public(value: Any) -> Any:
    if isinstance(value, dict):
        return public(value)
    if isinstance(value, list):
        return [_public(item) for item in value]
    return value


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> Document:
    """What ``after`` replaced of ``before``; objects by key, lists as a whole."""
    changed: Document = {}
    for name in {**before, **after}:
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            changed[name] = difference(old, new)
        else:
            changed[name] = old
    return changed


def listing(data: list[Document], url: str, *, has_more: bool = False) -> Document:
    """A list object."""
    return {"object": "list", "data": data, "has_more": has_more, "url": url}
