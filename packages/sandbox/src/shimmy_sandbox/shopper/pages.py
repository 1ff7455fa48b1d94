"""The pages of a purchase, each as what a person sees and does on it.

Every object is made of the same tab. Whoever waits for something that never comes gets
Playwright's own TimeoutError, which names what was looked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shimmy_sandbox.shopper.browser import stay_here
from shimmy_sandbox.shopper.refusal import ShopperError

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

GOOD_CARD: Final = "4242424242424242"
DECLINED_CARD: Final = "4000000000000002"
SECURE_CARD: Final = "4000002760003184"


@dataclass(frozen=True, slots=True)
class PricingPage:
    """The plans: the store's own page or the built site's."""

    tab: Page

    def open(self, url: str) -> None:
        """Come to it by its address."""
        self.tab.goto(stay_here(url))

    def choose(self, plan: str) -> None:
        """Press the plan's button; the next page is loaded afterwards. Raises ShopperError."""
        ways = (
            f'[data-plan="{plan}"] button',
            f'[data-plan="{plan}"] a[href*="plan={plan}"]',
            f'a[href*="/buy?plan={plan}"]',
        )
        before = self.tab.url
        found = self.tab.locator(", ".join(ways))
        if not found.count():
            raise ShopperError("plan-missing", f"{before} sells no plan {plan!r}")
        found.first.click()
        self.tab.wait_for_url(lambda url: url != before)


@dataclass(frozen=True, slots=True)
class CheckoutPage:
    """Stripe's page to pay on, as the sandbox has it."""

    tab: Page

    @property
    def total(self) -> str:
        """What is to be paid."""
        return self.tab.get_by_role("heading", level=1).inner_text()

    @property
    def problem(self) -> str:
        """Why the card was not taken; empty when nothing is said."""
        said = self.tab.get_by_role("alert")
        return said.inner_text() if said.count() else ""

    def fill(self, email: str, card: str = GOOD_CARD, name: str = "Ada Example") -> None:
        """Type everything but the last click."""
        stay_here(self.tab.url)
        address = self.tab.get_by_label("Email")
        if address.count():
            address.fill(email)
        number = self.tab.get_by_label("Card number")
        number.fill(card)
        self.tab.get_by_label("Expiration date").fill("12/34")
        self.tab.get_by_label("Security code").fill("123")
        self.tab.get_by_label("Name", exact=True).fill(name)

    def pay(self) -> None:
        """The last click, until the next page is there: the store's, the bank's, or this again."""
        with self.tab.expect_navigation():
            self._button.click()

    def pay_and_look_away(self) -> None:
        """The last click and nothing more."""
        self._button.click(no_wait_after=True)

    @property
    def _button(self) -> Locator:
        return self.tab.get_by_role("button", name=re.compile("^(Pay|Subscribe)$"))

    def choose_wallet(self, kind: str) -> None:
        """``alipay`` or ``wechat_pay``, which take their time."""
        self.tab.get_by_role("radio", name=kind).check()

    def leave(self) -> None:
        """Back to the shop without paying."""
        self.tab.get_by_role("link", name="Back to the shop").click()


@dataclass(frozen=True, slots=True)
class ChallengePage:
    """The bank's question: 3D Secure."""

    tab: Page

    def wait(self) -> None:
        """Until the bank asks."""
        self.tab.wait_for_url("**/challenge")

    def complete(self) -> None:
        """It is you."""
        with self.tab.expect_navigation():
            self.tab.get_by_role("button", name="Complete authentication").click()

    def fail(self) -> None:
        """It is not."""
        with self.tab.expect_navigation():
            self.tab.get_by_role("button", name="Fail authentication").click()


@dataclass(frozen=True, slots=True)
class SuccessPage:
    """What the store shows to somebody who has paid."""

    tab: Page

    def wait(self) -> None:
        """Until the store's page is there, whatever it says."""
        self.tab.wait_for_url("**/success?*")

    @property
    def is_waiting(self) -> bool:
        """Whether the licence is still being made."""
        return self.tab.locator("[data-poll]").count() > 0

    def key(self) -> str:
        """The licence's key, once the page shows it; the page looks for itself."""
        return self.tab.locator("#licence-key").inner_text()

    def copy(self) -> str:
        """Press Copy on the keyboard; what lies in the clipboard then."""
        self.tab.locator("[data-copy]").press("Enter")
        self.tab.get_by_role("button", name="Copied").wait_for()
        return str(self.tab.evaluate("navigator.clipboard.readText()"))

    @property
    def said(self) -> str:
        """What a screen reader is told."""
        return self.tab.get_by_role("status").inner_text()

    @property
    def commands(self) -> list[str]:
        """What to type next."""
        return self.tab.locator(".steps pre").all_inner_texts()


@dataclass(frozen=True, slots=True)
class LicencePage:
    """Somebody's licence, or the two ways to prove whose it is."""

    tab: Page

    def open(self, store: str) -> None:
        """Come to it by its address."""
        self.tab.goto(stay_here(f"{store}/view-license"))

    def ask_for_link(self, email: str) -> None:
        """Have a link mailed."""
        self.tab.get_by_label("The address you bought with").fill(email)
        self.tab.get_by_role("button", name="Send me a link").click()
        self.tab.get_by_role("heading", name="Look into your mail").wait_for()

    def show_key(self, key: str) -> None:
        """Prove it by the key."""
        self.tab.get_by_label("Your licence key").fill(key)
        self.tab.get_by_role("button", name="Open").click()
        self.tab.locator("#licence-key").wait_for()

    def follow(self, link: str) -> None:
        """Open the mailed link."""
        self.tab.goto(stay_here(link))

    @property
    def key(self) -> str:
        """The key that is shown."""
        return self.tab.locator("#licence-key").inner_text()

    @property
    def plan(self) -> str:
        """The plan's name and the licence's state, as the heading says."""
        return self.tab.locator("section.card h2").first.inner_text()

    @property
    def facts(self) -> dict[str, str]:
        """What is said of the licence, by its name."""
        rows = self.tab.locator("dl > div")
        read = [rows.nth(place) for place in range(rows.count())]
        return {row.locator("dt").inner_text(): row.locator("dd").inner_text() for row in read}

    @property
    def machines(self) -> list[str]:
        """The machines that use it."""
        return self.tab.locator(".machines strong").all_inner_texts()

    def open_portal(self) -> None:
        """On to Stripe's portal."""
        self.tab.get_by_role("button", name="Plan, card and invoices").click()
        self.tab.wait_for_url("**/p/session/**")


@dataclass(frozen=True, slots=True)
class PortalPage:
    """Stripe's customer portal, as the sandbox has it."""

    tab: Page

    @property
    def text(self) -> str:
        """Everything it says."""
        return self.tab.locator("main").inner_text()

    def choose_plan(self, name: str) -> None:
        """Ask for another plan; what it costs is shown, and nothing has happened yet."""
        self.tab.get_by_role("button", name="Change plan").click()
        self.tab.get_by_role("radio", name=re.compile(rf"\b{re.escape(name)}:")).check()
        self.tab.get_by_role("button", name="Continue").click()
        self.tab.get_by_role("heading", name="Confirm your new plan").wait_for()

    def confirm(self) -> None:
        """Take the plan that is shown."""
        self.tab.get_by_role("button", name="Confirm").click()

    def ask_to_cancel(self) -> None:
        """To the page that says what cancelling means."""
        self.tab.get_by_role("button", name="Cancel the subscription").click()
        self.tab.get_by_role("heading", name="Cancel the subscription").wait_for()

    def cancel(self) -> None:
        """End it with its month."""
        self.tab.get_by_role("button", name="Cancel the subscription").click()
        self.tab.get_by_role("status").wait_for()

    def leave(self) -> None:
        """Back to the shop."""
        self.tab.get_by_role("link", name="Back to the shop").click()
        self.tab.wait_for_url(lambda url: "/p/session/" not in url)
