"""``shimmy-sandbox pay``: fill in one page to pay on, and go no further.

The buyer is not sent back to the store: what follows is left to the webhook.
"""

from __future__ import annotations

import argparse
import ssl

import httpx

from shimmy_sandbox.cli.buy import pay_page
from shimmy_sandbox.cli.serving import CommandError, failed

_PATIENCE_SECONDS = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which page, by whom, with which test card."""
    parser.add_argument("url", help="a page of this sandbox: http://127.0.0.1:PORT/c/pay/cs_test_…")
    parser.add_argument("--email", default="ada@example.com")
    parser.add_argument("--card", default="4242424242424242", help="one of Stripe's test cards")


def run(args: argparse.Namespace) -> int:
    """1 with one line on stderr, which never repeats the page's address, when it is not paid."""
    # Loopback speaks no TLS; without this, httpx reads every root certificate first.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        with httpx.Client(trust_env=False, verify=context, timeout=_PATIENCE_SECONDS) as browser:
            pay_page(browser, args.url, args.email, args.card)
    except CommandError as problem:
        return failed(str(problem))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as problem:
        return failed(f"the page to pay on does not answer: {type(problem).__name__}")
    print("paid")
    return 0
