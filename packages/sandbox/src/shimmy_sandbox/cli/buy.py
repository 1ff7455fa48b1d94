"""``shimmy-sandbox buy``: a customer's hands on a store that runs against this sandbox."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from shimmy_sandbox.cli.serving import CommandError, failed
from shimmy_sandbox.shopper.refusal import ShopperError

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_STORE = "http://127.0.0.1:8400"
_SEE_OTHER = 303


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is bought, by whom, with which test card, over HTTP or in a real browser."""
    parser.add_argument("plan", help="developer, professional, startup, enterprise or lifetime")
    parser.add_argument("--store", default=_STORE, help=f"the store's address (default {_STORE})")
    parser.add_argument("--email", default="ada@example.com")
    parser.add_argument("--card", default="4242424242424242", help="one of Stripe's test cards")
    parser.add_argument(
        "--browser", action="store_true", help="in Chromium without a window, from the pricing page"
    )
    parser.add_argument(
        "--site", metavar="URL", help="the pricing page to begin on (default: the store's own)"
    )
    parser.add_argument(
        "--screenshots", type=Path, metavar="DIR", help="pictures of every page, 375 and 1280 wide"
    )
    parser.add_argument("--show-steps", action="store_true", help="tell of every act on a page")


def run(args: argparse.Namespace) -> int:
    """From the store's link to its success page; 1 with one line on stderr when that fails."""
    try:
        _check(args)
        _walk(args) if args.browser else _buy(args)
    except (CommandError, ShopperError) as problem:
        return failed(str(problem))
    except httpx.HTTPError as problem:
        kind = type(problem).__name__
        return failed(f"{args.store} or its checkout does not answer: {kind}")
    return 0


def _check(args: argparse.Namespace) -> None:
    if not args.browser and (args.site or args.screenshots or args.show_steps):
        message = "--site, --screenshots and --show-steps are about a browser: add --browser"
        raise CommandError("browser-not-asked", message)


def _clocked() -> Callable[[str], None]:
    """Prints what it is told with the seconds since now."""
    began = time.monotonic()

    def tell(step: str) -> None:
        print(f"{time.monotonic() - began:6.2f} s  {step}", flush=True)

    return tell


def _walk(args: argparse.Namespace) -> None:
    """As a person does it."""
    from shimmy_sandbox.shopper.camera import Camera
    from shimmy_sandbox.shopper.errand import Errand, run_errand

    if args.screenshots is not None:
        args.screenshots.mkdir(parents=True, exist_ok=True)
    tell = _clocked()
    errand = Errand(
        pricing=args.site or f"{args.store}/pricing",
        plan=args.plan,
        email=args.email,
        card=args.card,
        camera=Camera(args.screenshots),
        tell=tell,
        detail=tell if args.show_steps else lambda _: None,
    )
    run_errand(errand)


def _buy(args: argparse.Namespace) -> None:
    """Over HTTP, as a browser without JavaScript and without eyes."""
    tell = _clocked()
    with httpx.Client(trust_env=False, headers={"Accept": "text/html"}, timeout=30) as browser:
        pay = _location(browser.get(f"{args.store}/buy", params={"plan": args.plan}), "the store")
        tell(f"the store leads to the page to pay {args.plan} on")
        back = pay_page(browser, pay, args.email, args.card)
        tell("paid with a test card; Stripe has told the store and sends the buyer back")
        page = browser.get(back)
        if page.status_code != httpx.codes.OK:
            raise CommandError("purchase-unconfirmed", f"the store says {page.status_code}")
        made = 'id="licence-key"' in page.text
        tell("the store shows the licence" if made else "the store says that the licence follows")


def pay_page(browser: httpx.Client, page: str, email: str, card: str) -> str:
    """Fill in a hosted page to pay on; where the buyer is sent back to. Raises CommandError."""
    _check_place(page, "the page to pay on")
    form = {
        "email": email,
        "name": "Ada Example",
        "payment_method": "card",
        "card_number": card,
        "card_expiry": "12/34",
        "card_cvc": "123",
    }
    return _location(browser.post(page, data=form), "the page to pay on")


def _check_place(url: str, who: str) -> None:
    """Raises CommandError for an address that is not on this machine."""
    if urlsplit(url).hostname not in _LOOPBACK:
        raise CommandError("purchase-elsewhere", f"{who} leads off this machine: nothing is sent")


def _location(answer: httpx.Response, who: str) -> str:
    """Where an answer leads; only ever on this machine."""
    url = answer.headers.get("location", "")
    if answer.status_code != _SEE_OTHER:
        raise CommandError("purchase-refused", f"{who} says {answer.status_code}")
    _check_place(url, who)
    return str(url)
