"""A whole purchase by somebody with a browser, told step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shimmy_sandbox.shopper.browser import open_browser, open_tab
from shimmy_sandbox.shopper.camera import Camera
from shimmy_sandbox.shopper.pages import (
    GOOD_CARD,
    ChallengePage,
    CheckoutPage,
    PricingPage,
    SuccessPage,
)
from shimmy_sandbox.shopper.refusal import ShopperError

if TYPE_CHECKING:
    from playwright.sync_api import Page


def _say_nothing(_words: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Errand:
    """``pricing`` is the page it begins on; ``tell`` hears of steps, ``detail`` of the rest."""

    pricing: str
    plan: str
    email: str
    card: str = GOOD_CARD
    camera: Camera = field(default_factory=Camera)
    tell: Callable[[str], None] = _say_nothing
    detail: Callable[[str], None] = _say_nothing


def run_errand(errand: Errand) -> str:
    """Buy what the errand says; the licence's key as the success page shows it.

    Raises ShopperError: no browser, a card that is declined, a page that does not come.
    """
    with open_browser() as browser, open_tab(browser) as tab:
        from playwright.sync_api import Error

        try:
            errand.tell("a browser without a window is open")
            return _buy(errand, tab)
        except Error as problem:
            first = problem.message.partition("\n")[0]
            message = f"the browser cannot go on at {tab.url}: {first}"
            raise ShopperError("browser-stuck", message) from problem


def _buy(errand: Errand, tab: Page) -> str:
    pricing, checkout = PricingPage(tab), CheckoutPage(tab)
    pricing.open(errand.pricing)
    errand.camera.take(tab, "pricing")
    errand.tell(f"reads the prices at {errand.pricing}")
    pricing.choose(errand.plan)
    if "/c/pay/" not in tab.url:
        raise ShopperError("checkout-missing", f"the plan leads to {tab.url}, not to a checkout")
    errand.detail(f"the page to pay on: {checkout.total}")
    checkout.fill(errand.email, errand.card)
    errand.camera.take(tab, "checkout")
    errand.tell(f"chooses {errand.plan}: {checkout.total}, and types a test card")
    checkout.pay()
    _answer_bank(errand, tab)
    success = SuccessPage(tab)
    success.wait()
    errand.tell("pays; Stripe has told the store and sends the buyer back")
    if success.is_waiting:
        errand.detail("the page says that the licence is being made, and looks again by itself")
    key = success.key()
    errand.camera.take(tab, "success")
    errand.tell("the page shows the licence's key and what to type next")
    errand.detail(f"copied with the page's button: {success.copy()}")
    return key


def _answer_bank(errand: Errand, tab: Page) -> None:
    """Pass 3D Secure if the bank asks; say why if the card is declined."""
    if tab.url.endswith("/challenge"):
        errand.camera.take(tab, "challenge")
        errand.tell("the bank asks whether it is her; it is")
        ChallengePage(tab).complete()
    problem = CheckoutPage(tab).problem if "/c/pay/" in tab.url else ""
    if problem:
        raise ShopperError("card-declined", f"the page to pay on says: {problem}")
