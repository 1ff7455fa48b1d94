"""What customers do, each by its script: over the store's pages, Stripe's, and by mail."""

from __future__ import annotations

import re
import ssl
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urljoin

import httpx
import stripe

from chaos_machine import KILLED, use_machine
from chaos_plan import MONTHLY, Script
from chaos_street import ChaosStreet

_CARD = {"card_number": "4242424242424242", "card_expiry": "12/34", "card_cvc": "123"}
# Taken when it is entered, and refused with every renewal.
_CARDS = {"change-card": "5555555555554444", "card-that-fails": "4000000000000341"}
_PAGES = 3
_MACHINES_TRIES = 3
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_PAUSE_SECONDS = 0.5
_FORM = re.compile(r"<form.*?</form>", re.DOTALL)
_HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)"')
_KEY = re.compile(r'<code id="licence-key">([^<]+)<')


class GaveUpError(Exception):
    """A customer tried for as long as one does; the message names what."""


@dataclass(frozen=True, slots=True)
class Pages:
    """Pages of one licence counted between two moments of the town; ``sure``: or perhaps not."""

    key: str
    count: int
    began: datetime
    ended: datetime
    sure: bool


@dataclass
class Tally:
    """What all customers met. ``patience``: seconds for which each of them tries one thing.

    ``closing``: the last fault is over. Nobody begins anything more, nor tries it again.
    """

    patience: float = 20.0
    closing: threading.Event = field(default_factory=threading.Event)

    done: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    gave_up: Counter[str] = field(default_factory=Counter)
    seconds_to_key: list[float] = field(default_factory=list)
    pages: list[Pages] = field(default_factory=list)
    machines: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: Counter[str], name: str) -> None:
        """One more."""
        with self._lock:
            what[name] += 1


def open_stripe(street: ChaosStreet) -> stripe.StripeClient:
    """Stripe's own client, which tries again as it does."""
    http = stripe.HTTPXClient(timeout=15, allow_sync_methods=True)
    return stripe.StripeClient(
        street.settings["SHIMMY_STORE_STRIPE_KEY"],
        base_addresses={"api": street.places["stripe"]},
        http_client=http,
        max_network_retries=4,
    )


class Customer:
    """One person with one browser, and perhaps another one later."""

    def __init__(
        self, street: ChaosStreet, sdk: stripe.StripeClient, script: Script, tally: Tally
    ) -> None:
        self._street, self._sdk, self._script, self._tally = street, sdk, script, tally
        self._browser = self._open()
        self._key = ""

    def live(self) -> None:
        """Everything in the script; what cannot be done is given up and counted."""
        if not self._tally.closing.is_set():
            self._tally.count(self._tally.done, "come to buy")
        for _ in range(_MACHINES_TRIES if self._script.machine else 1):
            if not self._key:
                self._try("buy", lambda: self._buy(self._script.plan))
        for act in self._script.acts:
            if act != "nothing":
                self._try(act, lambda act=act: self._act(act))
        self._browser.close()

    def use_machine(self) -> None:
        """What the script has of the real ``shimmy``; it buys nothing, so it may take its time."""
        if self._script.machine and self._key:
            self._try("machine", self._use_machine, always=True)

    def _try(self, name: str, act: Any, *, always: bool = False) -> None:
        if self._tally.closing.is_set() and not always:
            return
        try:
            act()
            self._tally.count(self._tally.done, name)
        except GaveUpError:
            self._tally.count(self._tally.gave_up, name)
        except (httpx.HTTPError, stripe.StripeError) as error:
            self._tally.count(self._tally.failed, f"{name}: {type(error).__name__}")
            self._tally.count(self._tally.gave_up, name)

    def _act(self, act: str) -> None:
        match act:
            case "change-card" | "card-that-fails":
                self._portal("card", {"card_number": _CARDS[act]})
            case "upgrade" | "downgrade":
                self._change_plan(better=act == "upgrade")
            case "cancel":
                self._portal("cancel", {"subscription": self._subscription()})
            case "use-pages":
                self._use_pages()
            case "buy-again":
                self._buy(MONTHLY[self._script.number % len(MONTHLY)])
            case "buy-elsewhere":
                self._buy_elsewhere()
            case "recover":
                self._recover()
            case _:
                self._have_done(act)

    def _have_done(self, act: str) -> None:
        """What others do for them: whoever sells, or a bank."""
        match act:
            case "cancel-now":
                self._sdk.v1.subscriptions.cancel(self._subscription())
            case "refund" | "refund-a-part":
                order: Any = {"charge": self._charge()}
                order |= {"amount": 100} if act == "refund-a-part" else {}
                self._sdk.v1.refunds.create(order)
            case _:
                opened = self._street.control("stripe", "disputes", {"charge": self._charge()})
                if act == "dispute-won":
                    path = f"disputes/{opened['id']}"
                    self._street.control("stripe", path, {"status": "won"})

    # At the store --------------------------------------------------------------------------------

    def _buy(self, plan: str) -> None:
        way = self._ask("GET", f"/buy?plan={plan}", "buy")
        place = way.headers.get("location", "")
        if "/c/pay/" not in place:
            # Who pays already is led to the portal.
            self._tally.count(self._tally.done, "led to the portal")
            return
        script, began = self._script, time.monotonic()
        method = script.pay if plan == "lifetime" else "card"
        form = {"email": script.email, "name": "Ada", "payment_method": method}
        form |= _CARD if method == "card" else {"async_outcome": script.settles}
        paid = self._ask("POST", place, "pay", data=form)
        if paid.status_code != 303:
            raise GaveUpError("pay")
        back = paid.headers["location"]
        if method != "card":
            self._ask("GET", back, "success")
            return
        self._key = self._await_key(back)
        self._tally.seconds_to_key.append(round(time.monotonic() - began, 2))

    def _await_key(self, back: str) -> str:
        end = time.monotonic() + 2 * self._tally.patience
        while time.monotonic() < end and not self._tally.closing.is_set():
            shown = _KEY.search(self._ask("GET", back, "success").text)
            if shown:
                return shown[1]
            time.sleep(_PAUSE_SECONDS)
        raise GaveUpError("success")

    def _buy_elsewhere(self) -> None:
        """From another browser: another customer of Stripe's, and the mail offers to merge them."""
        before, self._browser = self._browser, self._open()
        before.close()
        self._buy(self._script.plan)
        token = self._await_mail(r"/merge\?token=\S+")
        page = self._ask("GET", token, "merge")
        done = self._submit(page.text, "/merge")
        if done.status_code >= 400:
            raise GaveUpError("merge")
        self._tally.count(self._tally.done, "merge")

    def _recover(self) -> None:
        page = self._ask("GET", "/view-license", "view")
        if "/create-portal-session" in page.text:
            self._submit(page.text, "/sign-out")
            page = self._ask("GET", "/view-license", "view")
        known = len(self._mails())
        self._submit(page.text, "/view-license", email=self._script.email)
        link = self._await_mail(r"/sign-in\?token=\S+", after=known)
        self._ask("GET", link, "sign-in")
        if "licence-key" not in self._ask("GET", "/view-license", "view").text:
            raise GaveUpError("recover")

    def _portal(self, action: str, form: Mapping[str, str]) -> None:
        page = self._ask("GET", "/view-license", "view").text
        named = re.search(r'name="customer" value="(cus_\w+)"', page)
        if named is None:
            raise GaveUpError("portal")
        led = self._submit(page, "/create-portal-session", customer=named[1])
        if led.status_code != 303:
            raise GaveUpError("portal")
        done = self._ask("POST", f"{led.headers['location']}/{action}", "portal", data=form)
        if done.status_code >= 400:
            raise GaveUpError(action)

    def _change_plan(self, *, better: bool) -> None:
        name = self._subscription()
        held = self._sdk.v1.subscriptions.retrieve(name).to_dict()
        plan = str(held["items"]["data"][0]["price"]["product"])
        place = MONTHLY.index(plan) + (1 if better else -1)
        wanted = MONTHLY[place % len(MONTHLY)]
        price = self._sdk.v1.prices.list({"lookup_keys": [wanted]}).data[0].id
        self._portal("confirm", {"subscription": name, "price": price})

    def _use_machine(self) -> None:
        self._tally.machines.add(self._key)
        use_machine(self._street, self._key, self._script, self._met)

    def _met(self, what: str) -> None:
        if what == KILLED:
            self._tally.count(self._tally.done, KILLED)
        else:
            self._tally.count(self._tally.failed, f"machine: {what}")

    def _use_pages(self) -> None:
        """As a machine reports them, once: of a count that nobody hears of nothing is known."""
        if not self._key:
            raise GaveUpError("pages")
        settings, began, sure = self._street.settings, self._street.now(), False
        account = f"{settings['SHIMMY_STORE_KEYGEN_URL']}/v1/accounts/"
        account += settings["SHIMMY_STORE_KEYGEN_ACCOUNT"]
        url = f"{account}/licenses/{self._key}/actions/increment-usage"
        headers = {"Authorization": f"License {self._key}"}
        body = {"meta": {"increment": _PAGES}}
        try:
            with httpx.Client(trust_env=False, verify=_NO_TLS, timeout=30) as line:
                sure = line.post(url, json=body, headers=headers).is_success
        finally:
            told = Pages(self._key, _PAGES, began, self._street.now(), sure)
            self._tally.pages.append(told)
        if not sure:
            raise GaveUpError("pages")

    # Hands ---------------------------------------------------------------------------------------

    def _customers(self) -> list[str]:
        found = self._sdk.v1.customers.list({"email": self._script.email, "limit": 10}).data
        return [one.id for one in found]

    def _subscription(self) -> str:
        for customer in self._customers():
            for one in self._sdk.v1.subscriptions.list({"customer": customer}).data:
                return str(one.id)
        raise GaveUpError("subscription")

    def _charge(self) -> str:
        for customer in self._customers():
            for one in self._sdk.v1.charges.list({"customer": customer}).data:
                if one.paid and not one.refunded and not one.disputed:
                    return str(one.id)
        raise GaveUpError("charge")

    def _mails(self) -> list[dict[str, Any]]:
        found = self._street.ask("mail", f"messages?to={self._script.email}")
        return list(found)

    def _await_mail(self, pattern: str, after: int = 0) -> str:
        end = time.monotonic() + 2 * self._tally.patience
        while time.monotonic() < end and not self._tally.closing.is_set():
            for mail in self._mails()[after:]:
                found = re.search(pattern, mail["text"])
                if found:
                    return found[0]
            time.sleep(_PAUSE_SECONDS)
        raise GaveUpError("mail")

    def _submit(self, page: str, action: str, **fields: str) -> httpx.Response:
        forms = (one for one in _FORM.findall(page) if f'action="{action}"' in one)
        form = next(forms, None)
        if form is None:
            raise GaveUpError(action)
        return self._ask("POST", action, action, data={**dict(_HIDDEN.findall(form)), **fields})

    def _ask(self, method: str, path: str, name: str, **more: Any) -> httpx.Response:
        """Again, as people do who see an error; every failure is counted by its kind."""
        end = time.monotonic() + self._tally.patience
        url = urljoin(self._street.url, path)
        while time.monotonic() < end and not self._tally.closing.is_set():
            try:
                answer = self._browser.request(method, url, **more)
            except httpx.TransportError as error:
                self._tally.count(self._tally.failed, f"{name}: {type(error).__name__}")
            else:
                if answer.status_code < 500 and answer.status_code != 429:
                    return answer
                self._tally.count(self._tally.failed, f"{name}: {answer.status_code}")
            time.sleep(_PAUSE_SECONDS)
        raise GaveUpError(name)

    def _open(self) -> httpx.Client:
        number = self._script.number
        address = f"198.18.{number // 250}.{number % 250 + 1}"
        headers = {"Accept": "text/html", "X-Forwarded-For": address}
        return httpx.Client(headers=headers, trust_env=False, verify=_NO_TLS, timeout=30)
