"""The ``Believers`` port: each secret tried where it must, or must not, be believed."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import stripe

from shimmy_ops.adapters.accounts.keygen_wire import KeygenWire
from shimmy_ops.adapters.accounts.stripe_errors import stripe_errors
from shimmy_ops.adapters.gathering.web_pages import WebPages
from shimmy_ops.domain.preflight.delivery_checks import probe_event
from shimmy_ops.domain.profile import Profile
from shimmy_ops.errors import DeskError, LicensingError, RotationError
from shimmy_ops.ports.rotation import Tried
from shimmy_ops.ports.store_desk import StoreDesk

_OK = 200
_TIMEOUT_SECONDS = 20
_PORTS: Mapping[str, int] = {"smtp": 587, "smtps": 465}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_KEYS_AT_ONCE = 10
Opened = Callable[[str], AbstractContextManager[Any]]


class TriedSecrets:
    """``stripe`` and ``keygen`` open a client on a secret; ``ours`` is Stripe's on our own key."""

    def __init__(
        self,
        profile: Profile,
        pages: WebPages,
        desk: Callable[[], AbstractContextManager[StoreDesk]],
        accounts: tuple[Opened, Opened, stripe.StripeClient],
        now: Callable[[], datetime],
        plans: list[str],
    ) -> None:
        self._profile, self._pages, self._desk, self._now = profile, pages, desk, now
        self._stripe, self._keygen, self._ours = accounts
        self._plans = plans

    def webhook(self, secret: str) -> int:
        event = probe_event(self._now(), livemode=self._profile.livemode)
        return self._pages.deliver(self._profile.webhook_url, event, secret, self._now())

    def desk(self, token: str) -> bool:
        return self._opens("/operator/alarms", token)

    def metrics(self, token: str) -> bool:
        return self._opens("/metrics", token)

    def _opens(self, path: str, token: str) -> bool:
        headers = {"Accept": "application/json", "Authorization": f"Bearer {token}"}
        return self._pages.status(f"{self._profile.store_url}{path}", headers) == _OK

    def mail(self) -> str:
        if not self._profile.operator_mail:
            return ""
        with self._desk() as desk:
            try:
                desk.probe_mail(self._profile.operator_mail)
            except DeskError as error:
                return error.message
        return ""

    def licence_token(self, token: str) -> Tried:
        with self._keygen(token) as wire:
            keygen: KeygenWire = wire
            try:
                keygen.ask("GET", "licenses?page[size]=1&page[number]=1")
            except LicensingError as error:
                if error.code != "licensing-not-allowed":
                    raise
                return "refused"
        return "works"

    def stripe_key(self, key: str) -> Tried:
        with stripe_errors(), self._stripe(key) as client:
            try:
                client.v1.prices.list({"limit": 1})
            except stripe.AuthenticationError:
                return "refused"
            except stripe.PermissionError:
                return "works"
        return "works"

    def stripe_rights(self, key: str) -> list[str]:
        lacking = []
        asked = {"lookup_keys": self._plans[:_KEYS_AT_ONCE], "limit": 100}
        with stripe_errors(), self._stripe(key) as client:
            for name, read in _reads(client.v1):
                try:
                    read({"limit": 1})
                except (stripe.AuthenticationError, stripe.PermissionError):
                    lacking.append(f"reading {name}")
            if not lacking:
                ours = {one.id for one in self._ours.v1.prices.list(asked).data}  # type: ignore[arg-type]
                if ours != {one.id for one in client.v1.prices.list(asked).data}:
                    lacking.append("it is of another account")
        return lacking

    def mailer(self, url: str) -> Tried:
        place = urlsplit(url)
        if place.scheme not in _PORTS or not place.username:
            return "unknown"
        try:
            with _server(place.scheme, place.hostname or "", place.port) as server:
                server.login(unquote(place.username), unquote(place.password or ""))
        except smtplib.SMTPAuthenticationError:
            return "refused"
        except (smtplib.SMTPException, OSError, ValueError) as error:
            # Never the server's words: they repeat addresses.
            raise RotationError(
                "mail-server-unreachable",
                f"The mail server could not be asked: {type(error).__name__}.",
                retryable=True,
            ) from None
        return "works"

    def pending(self, until: int) -> int:
        asked: Any = {"created": {"lte": until}, "delivery_success": False, "limit": 100}
        with stripe_errors():
            listed = self._ours.v1.events.list(asked).auto_paging_iter()
            return sum(one.pending_webhooks > 0 for one in listed)


def _reads(v1: Any) -> list[tuple[str, Callable[[Any], Any]]]:
    """What the store reads, each by a list of one."""
    return [
        ("prices", v1.prices.list),
        ("customers", v1.customers.list),
        ("subscriptions", v1.subscriptions.list),
        ("checkout sessions", v1.checkout.sessions.list),
        ("invoices", v1.invoices.list),
        ("charges", v1.charges.list),
        ("refunds", v1.refunds.list),
        ("disputes", v1.disputes.list),
        ("events", v1.events.list),
    ]


def _server(scheme: str, host: str, port: int | None) -> smtplib.SMTP:
    chosen = port or _PORTS[scheme]
    if scheme == "smtps":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(host, chosen, timeout=_TIMEOUT_SECONDS, context=context)
    server = smtplib.SMTP(host, chosen, timeout=_TIMEOUT_SECONDS)
    if host not in _LOOPBACK:
        server.starttls(context=ssl.create_default_context())
    return server
