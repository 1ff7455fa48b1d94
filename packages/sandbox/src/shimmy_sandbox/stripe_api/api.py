"""One API request: who asks, what for, once only, and the answer as Stripe writes it."""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Any

from shimmy_sandbox.simulation.exchange import Outgoing
from shimmy_sandbox.stripe_api.books import Books
from shimmy_sandbox.stripe_api.call import Call, expanded
from shimmy_sandbox.stripe_api.forms import parse_form
from shimmy_sandbox.stripe_api.idempotency import IdempotencyKeys, KeptReply, fingerprint_of
from shimmy_sandbox.stripe_api.identity import API_VERSION, PUBLISHABLE_KEY, new_id
from shimmy_sandbox.stripe_api.parameters import checked
from shimmy_sandbox.stripe_api.passing_time import run_everything
from shimmy_sandbox.stripe_api.routes import ROUTES, route_for
from shimmy_sandbox.stripe_api.wire import RefusalError, invalid, unauthorised

_LOG = logging.getLogger(__name__)
_LIVE = ("sk_live_", "rk_live_", "pk_live_")


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request as it came; header names in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def idempotency_key(self) -> str | None:
        """The key of a POST; other methods need none."""
        return self.headers.get("idempotency-key") if self.method == "POST" else None


@dataclass(slots=True)
class Api:
    """Answers API requests from the books; ``key`` is the secret key it accepts.

    ``rolled`` are further keys, and whether each is accepted: also of ``key`` itself.
    """

    keys: IdempotencyKeys
    key: str
    rolled: dict[str, bool] = field(default_factory=dict)
    forced: list[dict[str, Any]] = field(default_factory=list)
    """Answers on request, as the controls describe them."""

    def answer(self, request: Incoming, books: Books) -> Outgoing:
        """The reply; what the request did is committed by then, whole or not at all."""
        identifier = new_id("req")
        headers = {"Request-Id": identifier, "Stripe-Version": API_VERSION}
        headers["Date"] = formatdate(books.now, usegmt=True)
        key = request.idempotency_key
        if key is not None:
            headers["Idempotency-Key"] = key
        books = replace(books, request_id=identifier, idempotency_key=key)
        try:
            status, body = self._handled(request, books, identifier, headers)
        except RefusalError as refused:
            status, body = refused.status, {"error": refused.body}
            if refused.retry:
                headers["Stripe-Should-Retry"] = "true"
        except Exception:  # noqa: BLE001 - a client must get an answer, the log says why
            _LOG.exception("the sandbox itself failed at %s %s", request.method, request.path)
            message = "This sandbox itself failed: see its log"
            status, body = 500, {"error": {"message": message, "type": "api_error"}}
        return _written(status, body, headers)

    def refuse(self, refused: RefusalError) -> Outgoing:
        """The reply to a request that does not even begin."""
        headers = {"Request-Id": new_id("req"), "Stripe-Version": API_VERSION}
        return _written(refused.status, {"error": refused.body}, headers)

    def _handled(
        self, request: Incoming, books: Books, identifier: str, headers: dict[str, str]
    ) -> tuple[int, Mapping[str, Any]]:
        self._authenticate(request.headers.get("authorization", ""))
        version = request.headers.get("stripe-version", API_VERSION)
        if version != API_VERSION:
            raise invalid(f"This sandbox speaks version {API_VERSION} and not {version}")
        routed = route_for(request.method, request.path.removeprefix("/v1/"))
        if routed is None:
            message = f"Unrecognized request URL ({request.method}: {request.path})."
            raise invalid(message, status=404)
        given = _parameters(request)
        fingerprint = fingerprint_of(request.method, request.path, request.body)
        key = request.idempotency_key
        with books.store.transaction():
            run_everything(books)
            kept = self.keys.kept(key, fingerprint, books.now) if key is not None else None
            if kept is not None:
                headers |= {"Idempotent-Replayed": "true", "Original-Request": kept.request}
                return kept.status, kept.body
            params = checked(routed[0], given)
            call = Call(books, request.path, routed[1], params)
            status, body = self._worked(routed[0], call)
            if key is not None:
                self.keys.keep(key, fingerprint, KeptReply(status, body, identifier), books.now)
            return status, body

    def _worked(self, operation: str, call: Call) -> tuple[int, Mapping[str, Any]]:
        forced = self._forced(call.path)
        if forced == "lock-timeout":
            message = "This object cannot be accessed right now because another request is using it"
            kind, code = "invalid_request_error", "lock_timeout"
            raise RefusalError.of(429, kind, message, code=code, retry=True)
        failed = {"error": {"message": "An unknown error occurred", "type": "api_error"}}
        if forced == "api-error":
            return 500, failed
        held: RefusalError | None = None
        shown: Mapping[str, Any] = {}
        try:
            with call.books.store.savepoint():
                try:
                    document = ROUTES[operation](call)
                    shown = expanded(call.books, document, call.params.get("expand", ()))
                except RefusalError as refused:
                    if not refused.keep:
                        raise
                    held = refused
        except RefusalError as refused:
            held = refused
        if forced == "api-error-after":
            return 500, failed
        return (held.status, {"error": held.body}) if held else (200, shown)

    def _forced(self, path: str) -> str | None:
        for place, one in enumerate(self.forced):
            if one["path"] in path:
                one["times"] -= 1
                if one["times"] == 0:
                    del self.forced[place]
                return str(one["kind"])
        return None

    def _authenticate(self, header: str) -> None:
        scheme, _, value = header.partition(" ")
        given = value.strip()
        if scheme.lower() == "basic":
            given = _basic_user(given)
        if not given or scheme.lower() not in ("basic", "bearer"):
            raise unauthorised(
                "You did not provide an API key. Give it in the Authorization header, using Bearer "
                "auth (Authorization: Bearer YOUR_SECRET_KEY) or as the user of Basic auth."
            )
        if given.startswith(_LIVE):
            raise unauthorised(
                "A LIVE KEY WAS SENT TO A SANDBOX. It was not kept; check what made your program "
                "send it here, and roll the key in Stripe's dashboard if in doubt.",
                "livemode_mismatch",
            )
        if given == PUBLISHABLE_KEY:
            message = "This API call cannot be made with a publishable API key. Use a secret key."
            raise unauthorised(message, "secret_key_required")
        if not self.rolled.get(given, given == self.key):
            raise unauthorised(f"Invalid API Key provided: {given[:8]}****{given[-4:]}")


def _basic_user(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[0]
    except (binascii.Error, ValueError):
        return ""


def _parameters(request: Incoming) -> dict[str, Any]:
    try:
        if request.method != "POST":
            return parse_form(request.query)
        kind = request.headers.get("content-type", "")
        if request.body and not kind.startswith("application/x-www-form-urlencoded"):
            raise invalid("Request bodies are application/x-www-form-urlencoded")
        return {**parse_form(request.query), **parse_form(request.body.decode())}
    except UnicodeDecodeError as problem:
        raise invalid("Invalid UTF-8 in the request") from problem


def _written(status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> Outgoing:
    standing = {
        "Content-Type": "application/json",
        "Cache-Control": "no-cache, no-store",
        "Shimmy-Sandbox": "not for production",
    }
    text = json.dumps(body, indent=2, ensure_ascii=False)
    return Outgoing(status, {**standing, **headers}, text.encode())
