"""``shimmy-sandbox buy``: a customer's hands on a store that runs against this sandbox."""

from __future__ import annotations

import argparse
import time
from urllib.parse import urlsplit

import httpx

from shimmy_sandbox.cli.serving import CommandError, failed

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_STORE = "http://127.0.0.1:8400"
_SEE_OTHER = 303


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is bought, by whom, with which test card."""
    parser.add_argument("plan", help="developer, professional, startup, enterprise or lifetime")
    parser.add_argument("--store", default=_STORE, help=f"the store's address (default {_STORE})")
    parser.add_argument("--email", default="ada@example.com")
    parser.add_argument("--card", default="4242424242424242", help="one of Stripe's test cards")


def run(args: argparse.Namespace) -> int:
    """From the store's link to its success page; 1 with one line on stderr when that fails."""
    try:
        _buy(args)
    except CommandError as problem:
        return failed(str(problem))
    except httpx.HTTPError as problem:
        kind = type(problem).__name__
        return failed(f"{args.store} or its checkout does not answer: {kind}")
    return 0


def _buy(args: argparse.Namespace) -> None:
    began = time.monotonic()

    def tell(step: str) -> None:
        print(f"{time.monotonic() - began:6.2f} s  {step}", flush=True)

    with httpx.Client(trust_env=False, headers={"Accept": "text/html"}, timeout=30) as browser:
        pay = _location(browser.get(f"{args.store}/buy", params={"plan": args.plan}), "the store")
        tell(f"the store leads to the page to pay {args.plan} on")
        form = {
            "email": args.email,
            "name": "Ada Example",
            "payment_method": "card",
            "card_number": args.card,
            "card_expiry": "12/34",
            "card_cvc": "123",
        }
        back = _location(browser.post(pay, data=form), "the page to pay on")
        tell("paid with a test card; Stripe has told the store and sends the buyer back")
        page = browser.get(back)
        if page.status_code != httpx.codes.OK:
            raise CommandError("purchase-unconfirmed", f"the store says {page.status_code}")
        made = 'id="licence-key"' in page.text
        tell("the store shows the licence" if made else "the store says that the licence follows")


def _location(answer: httpx.Response, who: str) -> str:
    """Where an answer leads; only ever on this machine."""
    url = answer.headers.get("location", "")
    if answer.status_code != _SEE_OTHER:
        raise CommandError("purchase-refused", f"{who} says {answer.status_code}")
    if urlsplit(url).hostname not in _LOOPBACK:
        raise CommandError("purchase-elsewhere", f"{who} leads off this machine: nothing is sent")
    return str(url)
